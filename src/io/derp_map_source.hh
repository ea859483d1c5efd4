#pragma once

// Where the DERP map comes from: a file, a URL, or the public default, with a cache that lets us start
// without the network. Spec: docs/protocol/derp-map.md "Source and cache".

#include <array>
#include <expected>
#include <string>
#include <string_view>

#include "derp/derp_map.hh"
#include "io/dial.hh"

namespace dh::io {

/// The public default, tried in this order; the only place that names somebody else's servers. The first is
/// the fleet its operator offers for use without an account: rate-limited, no promises, may be withdrawn. The
/// second is a product's fleet that is known to answer, kept only for when the first is gone.
constexpr std::array<std::string_view, 2> kDefaultMapUrls = {
    "https://tailcat.dev/derpmap.json",
    "https://login.tailscale.com/derpmap/default",
};

constexpr std::chrono::seconds kMapFreshness{3600};  // a younger copy is used without asking

enum class MapOrigin : std::uint8_t {
  File,         // --derp-map FILE
  Fetched,      // from the network just now
  Revalidated,  // the server said our copy is still true (304)
  FreshCache,   // our copy is younger than kMapFreshness
  StaleCache,   // older, but the network gave nothing better; `note` says so
};
std::string_view to_string(MapOrigin origin);

struct DerpMapOptions {
  std::string source;     // URL or path; empty: kDefaultMapUrls
  std::string cache_dir;  // empty: no cache
  DialOptions dial;       // dial.timeout bounds all fetching together
  UnixSeconds wall_now{};
  std::vector<std::string> default_urls{kDefaultMapUrls.begin(), kDefaultMapUrls.end()};
};

struct LoadedMap {
  derp::DerpMap map;
  MapOrigin origin = MapOrigin::Fetched;
  std::string source;          // path or URL it came from
  std::chrono::seconds age{};  // of the copy, for the two cache origins
  std::string note;            // a sentence for the user when something is less than right; usually empty
};

/// Loads the map. Never leaves a half-written cache; a corrupt one counts as none.
/// Errors:    a sentence: what was tried, what happened.
asio::awaitable<std::expected<LoadedMap, std::string>> load_derp_map(DerpMapOptions options);

/// Whether a --derp-map value is a URL rather than a path.
bool is_map_url(std::string_view source);

/// $XDG_CACHE_HOME/derphole, else $HOME/.cache/derphole; empty when neither is set to an absolute path.
std::string default_cache_dir();

}  // namespace dh::io
