#include "session/relay_pick.hh"

#include <algorithm>
#include <limits>

namespace dh::session {
namespace {

// The relays of one region, best first: the node that answered, then the others in priority order.
std::vector<RelayRef> relays_of(derp::RegionId id, const derp::DerpRegion& region, std::size_t answered) {
  std::vector<RelayRef> relays;
  const auto add = [&](const derp::DerpNode& node) {
    if (auto relay = relay_ref(id, node)) relays.push_back(std::move(*relay));
  };
  if (answered < region.nodes.size()) add(region.nodes[answered]);
  for (std::size_t i = 0; i < region.nodes.size(); ++i)
    if (i != answered) add(region.nodes[i]);
  return relays;
}

}  // namespace

std::optional<RelayRef> relay_ref(derp::RegionId region, const derp::DerpNode& node) {
  using Kind = derp::NodeAddress::Kind;
  if (!node.is_relay() || node.insecure_for_tests || !node.cert_name.empty()) return std::nullopt;
  if (node.ipv4.kind == Kind::Off && node.ipv6.kind == Kind::Off) return std::nullopt;
  RelayRef relay;
  relay.region = region <= std::numeric_limits<std::uint32_t>::max() ? static_cast<std::uint32_t>(region) : 0;
  relay.host = node.host_name;
  relay.port = node.derp_port;
  relay.pin = node.pin;
  relay.stun_port = node.stun_port;
  // A fixed IPv4 address will do for both families. A fixed IPv6 address beside an IPv4 one that only DNS
  // knows would lock out IPv4-only machines, so then DNS answers for both.
  if (node.ipv4.kind == Kind::Fixed) relay.addresses.push_back(node.ipv4.address);
  if (node.ipv6.kind == Kind::Fixed && node.ipv4.kind != Kind::Resolve)
    relay.addresses.push_back(node.ipv6.address);
  return relay;
}

std::vector<RelayRef> rank_relays(const derp::DerpMap& map, const std::vector<RegionLatency>& measured) {
  struct Ranked {
    double cost;
    std::vector<RelayRef> relays;
  };
  std::vector<Ranked> regions;
  for (const RegionLatency& entry : measured) {
    const auto found = map.regions.find(entry.region);
    if (found == map.regions.end() || found->second.no_measure_no_home) continue;
    regions.push_back({to_seconds(entry.latency) * map.score(entry.region),
                       relays_of(entry.region, found->second, entry.node)});
  }
  std::stable_sort(regions.begin(), regions.end(),
                   [](const Ranked& a, const Ranked& b) { return a.cost < b.cost; });
  std::vector<RelayRef> ranked;
  for (std::size_t place : {std::size_t{0}, std::size_t{1}})
    for (const Ranked& region : regions)
      if (place < region.relays.size()) ranked.push_back(region.relays[place]);
  return ranked;
}

}  // namespace dh::session
