#pragma once

// The shell of path/netcheck: which servers to ask, the sockets to ask from, and the relays' TCP side.

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "io/derp_map_source.hh"
#include "path/netcheck_report.hh"

namespace dh::io {

/// Asks the router for a mapping of a UDP port of this host, deletes it again, and says what happened.
/// Bounded by `budget`; empty where there is no router to ask.
using PortMappingCheck = std::function<asio::awaitable<std::optional<path::PortMappingReport>>(
    std::uint16_t internal_port, Duration budget)>;

struct NetcheckOptions {
  std::vector<std::string> derp_servers;  // --derp-server values; if any, no map is used
  std::string derp_map;                   // --derp-map URL or FILE; empty: the public default
  std::string cache_dir = default_cache_dir();
  DialOptions dial;
  Duration map_budget = 2s;     // for fetching the map, before the check begins
  Duration budget = 3s;         // for everything after
  Duration dial_after = 400ms;  // STUN has told by then which relays are near, or that UDP is silent
  UnixSeconds wall_now{};
  std::vector<std::string> default_map_urls{kDefaultMapUrls.begin(), kDefaultMapUrls.end()};
  PortMappingCheck port_mapping;  // empty: not asked
};

struct NetcheckResult {
  path::NetcheckReport report;
  std::string note;  // a sentence worth showing (stale map, no map at all); usually empty
  Duration took{};   // without fetching the map
};

enum class NetcheckFailure : std::uint8_t {
  Usage,        // an option's value is wrong
  MapUnusable,  // the map the user named cannot be read, or names no relay
};

struct NetcheckError {
  NetcheckFailure failure = NetcheckFailure::Usage;
  std::string message;  // a sentence
};

/// Runs one check. A network on which nothing answers is a result, not an error; so is a public map that
/// cannot be fetched.
asio::awaitable<std::expected<NetcheckResult, NetcheckError>> run_netcheck(NetcheckOptions options);

}  // namespace dh::io
