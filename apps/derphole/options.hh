#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/time.hh"
#include "bulk/stream.hh"
#include "reporter.hh"

namespace dh::app {

/// Flags every network command shares.
struct CommonOptions {
  bool verbose = false, quiet = false, silent = false, json = false;
  bool hide_progress = false;
  bool force_relay = false, require_direct = false;
  bulk::Controller controller = bulk::Controller::Bbr;
  bool polite = false;           // Controller::Ledbat, whatever `controller` says
  std::uint64_t rate_limit = 0;  // bytes per second; 0: none
  std::size_t lanes = 0;         // of the direct path; 0: as many as help
  std::string derp_map;          // URL or file
  std::vector<std::string> derp_servers;
  std::string relay;  // "self": host one in this process
  Duration wait = 15s;

  ReporterOptions reporter() const;
};

/// Where a token may come from besides the argument.
struct TokenSource {
  std::string argument;
  std::string file;
  bool from_stdin = false;
};

/// -v -q -s --json, for commands without a network as well.
void add_output_options(CLI::App& command, CommonOptions& options);
/// --derp-map and --derp-server.
void add_relay_source_options(CLI::App& command, CommonOptions& options);
void add_network_options(CLI::App& command, CommonOptions& options);
void add_token_options(CLI::App& command, TokenSource& source);
void add_wait_option(CLI::App& command, CommonOptions& options);
/// --cc, --polite, --limit-rate and --lanes, for commands that send a stream.
void add_sending_options(CLI::App& command, CommonOptions& options);

/// Reads the token's text from its one source, asks at a terminal when there is none.
/// Errors: CommandError (Usage: several sources or none; LocalFile: unreadable).
std::string read_token_text(const TokenSource& source, bool stdin_is_payload);

/// Overwrites `text` wherever it stands in this process's argument list, so that `ps` does not show it.
void wipe_from_arguments(int argc, char** argv, const std::string& text);

/// `15s`, `2m`, `1h`, `500ms`, or plain seconds. Errors: CommandError(Usage).
Duration parse_duration(const std::string& text);

/// Bytes per second as curl writes them: `500k`, `1.5M`, `1G`, powers of 1024; 0: no limit.
/// Errors: CommandError(Usage).
std::uint64_t parse_rate(const std::string& text);

}  // namespace dh::app
