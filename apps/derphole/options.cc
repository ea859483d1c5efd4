#include "options.hh"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iostream>
#include <termios.h>

#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "bulk/limits.hh"
#include "exit_status.hh"

namespace dh::app {
namespace {

constexpr double kLeastRate = 1024;          // less would let a session look dead
constexpr double kMostRate = 1ULL << 40;     // beyond any machine
constexpr std::size_t kMaxTokenText = 4096;  // far above any token; a wrong file should not be read whole

std::string trimmed(std::string text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string first_line(std::istream& in) {
  std::string line;
  for (char c; line.size() <= kMaxTokenText && in.get(c) && c != '\n';) line.push_back(c);
  return trimmed(line);
}

// Byte by byte: what follows the first line is payload and stays in the pipe.
std::string first_line_of_stdin() {
  std::string line;
  for (char c; line.size() <= kMaxTokenText && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';)
    line.push_back(c);
  return trimmed(line);
}

}  // namespace

ReporterOptions CommonOptions::reporter() const {
  if (verbose + quiet + silent > 1)
    throw CommandError(Exit::Usage, "only one of --verbose, --quiet and --silent");
  ReporterOptions out;
  out.level = verbose ? Level::Verbose : quiet ? Level::Quiet : silent ? Level::Silent : Level::Normal;
  out.json = json;
  out.hide_progress = hide_progress;
  return out;
}

void add_output_options(CLI::App& command, CommonOptions& options) {
  command.add_flag("-v,--verbose", options.verbose, "Show states and details")->envname("DERPHOLE_VERBOSE");
  command.add_flag("-q,--quiet", options.quiet, "No progress line")->envname("DERPHOLE_QUIET");
  command.add_flag("-s,--silent", options.silent, "Only errors and what the command exists to print")
      ->envname("DERPHOLE_SILENT");
  command.add_flag("--json", options.json, "One JSON object per line on stderr instead of text")
      ->envname("DERPHOLE_JSON");
}

void add_relay_source_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--derp-map", options.derp_map, "DERP map to choose relays from: URL or file")
      ->type_name("URL|FILE")
      ->envname("DERPHOLE_DERP_MAP");
  command
      .add_option("--derp-server", options.derp_servers,
                  "Use this relay: https://host[:port][?pin=sha256-raw:HEX], http:// on loopback only")
      ->type_name("URL")
      ->allow_extra_args(false)  // may be repeated, and leaves the words behind it to others
      ->envname("DERPHOLE_DERP_SERVER");
}

void add_network_options(CLI::App& command, CommonOptions& options) {
  add_output_options(command, options);
  command.add_flag("--hide-progress", options.hide_progress, "No progress line")
      ->envname("DERPHOLE_HIDE_PROGRESS");
  command
      .add_flag("--require-direct", options.require_direct,
                "Never send payload over a relay; fail without a direct path")
      ->envname("DERPHOLE_REQUIRE_DIRECT");
  command.add_flag("--force-relay", options.force_relay, "Stay on the relay, use no direct path")
      ->envname("DERPHOLE_FORCE_RELAY");
  add_relay_source_options(command, options);
  command.add_option("--relay", options.relay, "self: host the relay in this process")
      ->check(CLI::IsMember({"self"}))
      ->envname("DERPHOLE_RELAY");
}

void add_token_options(CLI::App& command, TokenSource& source) {
  command.add_option("token", source.argument, "The token that `derphole listen` printed")
      ->type_name("TOKEN");
  command.add_option("--token-file", source.file, "Read the token from this file")
      ->type_name("PATH")
      ->envname("DERPHOLE_TOKEN_FILE");
  command.add_flag("--token-stdin", source.from_stdin, "Read the token from the first line of stdin")
      ->envname("DERPHOLE_TOKEN_STDIN");
}

void add_wait_option(CLI::App& command, CommonOptions& options) {
  command
      .add_option_function<std::string>(
          "--wait", [&options](const std::string& text) { options.wait = parse_duration(text); },
          "How long the other side may take to answer (default 15s)")
      ->type_name("DURATION")
      ->envname("DERPHOLE_WAIT");
}

void add_sending_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option_function<std::string>(
          "--cc",
          [&options](const std::string& text) {
            options.controller = text == "cubic" ? bulk::Controller::Cubic : bulk::Controller::Bbr;
          },
          "Congestion control on the direct path: bbr (default) or cubic")
      ->check(CLI::IsMember({"bbr", "cubic"}))
      ->type_name("NAME")
      ->envname("DERPHOLE_CC");
  command.add_flag("--polite", options.polite, "Use only what others leave; get out of their way at once")
      ->envname("DERPHOLE_POLITE");
  command
      .add_option_function<std::string>(
          "--limit-rate", [&options](const std::string& text) { options.rate_limit = parse_rate(text); },
          "Send at most this many bytes per second: 500k, 2M, 1G (powers of 1024)")
      ->type_name("RATE")
      ->envname("DERPHOLE_LIMIT_RATE");
  command
      .add_option(
          "-P,--lanes", options.lanes,
          "Spread the direct path over so many threads and buffers, 1 to 4 (default: as many as help)")
      ->check(CLI::Range(std::size_t{1}, bulk::kMaxLanes))
      ->type_name("N")
      ->envname("DERPHOLE_LANES");
}

std::string read_token_text(const TokenSource& source, bool stdin_is_payload) {
  const int sources = !source.argument.empty() + !source.file.empty() + source.from_stdin;
  if (sources > 1)
    throw CommandError(Exit::Usage, "give the token once: as argument, --token-file or --token-stdin");
  if (!source.argument.empty()) return trimmed(source.argument);
  if (!source.file.empty()) {
    std::ifstream in(source.file);
    if (!in) {
      throw CommandError(Exit::LocalFile,
                         fmt::format("cannot read the token file {}: {}", source.file, std::strerror(errno)));
    }
    return first_line(in);
  }
  if (source.from_stdin) return first_line_of_stdin();
  if (isatty(STDIN_FILENO) != 1 || stdin_is_payload) {
    throw CommandError(
        Exit::Usage,
        "no token: give the one that `derphole listen` printed as argument, --token-file or --token-stdin");
  }
  std::cerr << "Token: " << std::flush;
  return first_line(std::cin);
}

void wipe_from_arguments(int argc, char** argv, const std::string& text) {
  if (text.empty()) return;
  for (int i = 1; i < argc; ++i) {
    const std::size_t size = std::strlen(argv[i]);
    if (size >= text.size() && std::strstr(argv[i], text.c_str()) != nullptr) std::memset(argv[i], 'x', size);
  }
}

Duration parse_duration(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const double scale = unit.empty() || unit == "s" ? 1
                       : unit == "ms"              ? 1e-3
                       : unit == "m"               ? 60
                       : unit == "h"               ? 3600
                       : unit == "d"               ? 86400
                                                   : 0;
  if (error != std::errc{} || scale == 0 || !(value >= 0) || value * scale > 3650 * 86400.0) {
    throw CommandError(Exit::Usage, fmt::format("not a duration: {} (try 15s, 2m, 1h or 30d)", text));
  }
  return from_seconds(value * scale);
}

std::uint64_t parse_rate(const std::string& text) {
  double value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value, std::chars_format::fixed);
  const std::string unit(end, last);
  const double scale = unit.empty()                 ? 1
                       : unit == "k" || unit == "K" ? 1024.0
                       : unit == "m" || unit == "M" ? 1024.0 * 1024
                       : unit == "g" || unit == "G" ? 1024.0 * 1024 * 1024
                                                    : 0;
  const double rate = value * scale;
  if (error != std::errc{} || scale == 0 || !(rate == 0 || (rate >= kLeastRate && rate <= kMostRate))) {
    throw CommandError(Exit::Usage, fmt::format("--limit-rate: not a rate from 1k to 1024G: {} (bytes per "
                                                "second, as in 500k, 2M or 1G; 0: no limit)",
                                                printable(text)));
  }
  return static_cast<std::uint64_t>(rate);
}

}  // namespace dh::app
