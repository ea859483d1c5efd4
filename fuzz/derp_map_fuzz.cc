// The DERP map is text from a server we do not run. Whatever parses obeys the bounds and survives being
// written and read again.
#include <cmath>

#include "base/check.hh"
#include "base/web_url.hh"
#include "derp/derp_map.hh"
#include "derp/probe_plan.hh"
#include "session/relay_pick.hh"

namespace {

using namespace dh;

// Text and back may move the last bit of a number; compare those loosely and the rest exactly.
bool close(double a, double b) {
  return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b));
}

void take_numbers_out(derp::DerpMap& a, derp::DerpMap& b) {
  CHECK(a.scores.size() == b.scores.size());
  for (auto& [id, score] : a.scores) CHECK(close(score, b.scores.at(id)));
  a.scores = b.scores;
  for (auto& [id, region] : a.regions) {
    derp::DerpRegion& other = b.regions.at(id);
    CHECK(region.latitude.has_value() == other.latitude.has_value());
    CHECK(region.longitude.has_value() == other.longitude.has_value());
    if (region.latitude) CHECK(close(*region.latitude, *other.latitude));
    if (region.longitude) CHECK(close(*region.longitude, *other.longitude));
    region.latitude = other.latitude;
    region.longitude = other.longitude;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto map = derp::DerpMap::parse(text);
  if (!map) {
    CHECK(!map.error().empty() && map.error().size() < 400);
    return 0;
  }
  CHECK(map->regions.size() <= derp::kMaxRegions);
  std::vector<session::RegionLatency> measured;
  for (const auto& [id, region] : map->regions) {
    CHECK(id != 0);
    CHECK(region.nodes.size() <= derp::kMaxNodesPerRegion);
    for (const auto& node : region.nodes) CHECK(is_host_name(node.host_name));
    measured.push_back(
        {.region = id, .latency = dh::Duration(static_cast<std::int64_t>(id % 1000)), .node = 1});
  }
  auto again = derp::DerpMap::parse(map->to_json());
  CHECK(again.has_value());
  map->ignored_nodes = 0;
  take_numbers_out(*map, *again);
  CHECK(*map == *again);
  for (const auto& set : derp::make_full_plan(*map, {})) {
    CHECK(!map->regions.at(set.region).no_measure_no_home);
    for (const auto& probe : set.probes) CHECK(map->regions.at(set.region).nodes.at(probe.node).stun_port);
  }
  for (const auto& relay : session::rank_relays(*map, measured)) CHECK(relay.port != 0);
  return 0;
}
