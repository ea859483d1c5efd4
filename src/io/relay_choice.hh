#pragma once

// The one question commands ask: which relays shall this session use?

#include <expected>
#include <string>
#include <vector>

#include "io/derp_map_source.hh"
#include "io/relay_latency.hh"
#include "session/token.hh"

namespace dh::io {

struct RelayChoiceOptions {
  std::vector<std::string> derp_servers;  // --derp-server values; if any, no map is used
  std::string derp_map;                   // --derp-map URL or FILE; empty: the public default
  std::string cache_dir = default_cache_dir();
  DialOptions dial;
  Duration budget = 3s;  // everything together; the answer is there by then whatever the network does
  UnixSeconds wall_now{};
  std::vector<std::string> default_map_urls{kDefaultMapUrls.begin(), kDefaultMapUrls.end()};
};

struct RelayChoice {
  std::vector<session::RelayRef> relays;  // one or two, best first; each answered just now
  std::string note;                       // a sentence worth showing (stale map); usually empty
  bool udp_works = false;                 // a STUN answer came back
};

enum class RelayChoiceFailure : std::uint8_t {
  Usage,        // an option's value is wrong: tell the user, exit 2
  MapUnusable,  // the map the user named cannot be read, or has no usable relay
  Rejected,     // a named relay is there but its certificate is not acceptable
  Unreachable,  // no relay answers: the caller may host its own
};
std::string_view to_string(RelayChoiceFailure failure);

struct RelayChoiceError {
  RelayChoiceFailure failure = RelayChoiceFailure::Unreachable;
  std::string message;  // a sentence
};

/// Up to two relays that can be reached, best first. Named servers keep the user's order; those of a map are
/// ranked by measuring. Only checks that a TLS connection can be made; no login.
asio::awaitable<std::expected<RelayChoice, RelayChoiceError>> choose_relays(RelayChoiceOptions options);

}  // namespace dh::io
