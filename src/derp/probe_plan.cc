#include "derp/probe_plan.hh"

#include <algorithm>
#include <limits>

namespace dh::derp {
namespace {

constexpr Duration kFullSpacing = 100ms;     // between the tries of a full run
constexpr std::size_t kFullTries = 3;        // per region and family
constexpr std::size_t kIncremental = 3;      // regions in an incremental run, besides home
constexpr std::size_t kFastest = 2;          // of those get a second try
constexpr std::size_t kHomeTries = 4;        // home must not be lost to one dropped packet
constexpr Duration kUnknownLatency = 200ms;  // retransmit spacing without a measurement
constexpr Duration kLateSpacing = 50ms;      // extra per try from the third on

Duration latency_of(const std::map<RegionId, Duration>& latencies, RegionId region) {
  const auto found = latencies.find(region);
  return found == latencies.end() ? Duration::zero() : found->second;
}

// The next node at or after `first` (cyclic) that answers STUN over the family.
std::optional<std::size_t> stun_node(const DerpRegion& region, std::size_t first, bool ipv6) {
  for (std::size_t i = 0; i < region.nodes.size(); ++i) {
    const std::size_t index = (first + i) % region.nodes.size();
    const DerpNode& node = region.nodes[index];
    const NodeAddress& address = ipv6 ? node.ipv6 : node.ipv4;
    const bool reachable =
        node.stun_test_ip ? node.stun_test_ip->is_v6() == ipv6 : address.kind != NodeAddress::Kind::Off;
    if (node.stun_port && reachable) return index;
  }
  return std::nullopt;
}

void add_try(ProbeSet& set, const DerpRegion& region, std::size_t attempt, Duration delay) {
  if (const auto node = stun_node(region, attempt, set.ipv6)) set.probes.push_back({*node, delay});
}

void add_set(std::vector<ProbeSet>& plan, ProbeSet set) {
  if (!set.probes.empty()) plan.push_back(std::move(set));
}

}  // namespace

std::vector<ProbeSet> make_full_plan(const DerpMap& map, UsableFamilies families) {
  std::vector<ProbeSet> plan;
  for (const auto& [id, region] : map.regions) {
    if (region.no_measure_no_home) continue;
    for (const bool ipv6 : {false, true}) {
      if (!(ipv6 ? families.v6 : families.v4)) continue;
      ProbeSet set{.region = id, .ipv6 = ipv6, .probes = {}};
      for (std::size_t attempt = 0; attempt < kFullTries; ++attempt)
        add_try(set, region, attempt, static_cast<int>(attempt) * kFullSpacing);
      add_set(plan, std::move(set));
    }
  }
  return plan;
}

std::vector<RegionId> regions_by_latency(const DerpMap& map, const LatencyReport& last, RegionId home) {
  std::vector<RegionId> regions;
  for (const auto& [id, region] : map.regions) {
    if (region.no_measure_no_home || (region.avoid && id != home)) continue;
    regions.push_back(id);
  }
  const auto key = [&](RegionId id) {
    const Duration latency = latency_of(last.any, id);
    return latency > Duration::zero() ? latency : Duration::max();
  };
  std::stable_sort(regions.begin(), regions.end(), [&](RegionId a, RegionId b) { return key(a) < key(b); });
  return regions;
}

std::vector<ProbeSet> make_incremental_plan(const DerpMap& map, UsableFamilies families,
                                            const LatencyReport& last, RegionId home) {
  if (last.any.empty()) return make_full_plan(map, families);
  const bool had_v6 = !last.v6.empty();
  const bool had_both = families.v6 && !last.v4.empty() && had_v6;
  std::vector<ProbeSet> plan;
  const std::vector<RegionId> sorted = regions_by_latency(map, last, home);
  for (std::size_t rank = 0; rank < sorted.size(); ++rank) {
    const RegionId id = sorted[rank];
    const DerpRegion& region = map.regions.at(id);
    const bool is_home = id == home;
    const bool is_fastest = rank < kFastest;
    if (rank >= kIncremental && !is_home) continue;
    bool use_v4 = families.v4;
    bool use_v6 = families.v6;
    if (!is_fastest && !is_home) {
      // Slower regions take turns, so that both families are seen without doubling the traffic.
      if (had_both) (rank % 2 == 0 ? use_v6 : use_v4) = false;
      if (!had_v6) use_v6 = false;
    }
    const std::size_t tries = is_home ? kHomeTries : is_fastest ? 2 : 1;
    const Duration known = latency_of(last.any, id);
    const Duration spacing = known > Duration::zero() ? known * 120 / 100 : kUnknownLatency;
    ProbeSet v4{.region = id, .ipv6 = false, .probes = {}};
    ProbeSet v6{.region = id, .ipv6 = true, .probes = {}};
    for (std::size_t attempt = 0; attempt < tries; ++attempt) {
      const auto count = static_cast<int>(attempt);
      const Duration delay = count * spacing + (count >= 2 ? count * kLateSpacing : Duration::zero());
      if (use_v4) add_try(v4, region, attempt, delay);
      if (use_v6 && (attempt == 0 || had_v6)) add_try(v6, region, attempt, delay);
    }
    add_set(plan, std::move(v4));
    add_set(plan, std::move(v6));
  }
  return plan;
}

}  // namespace dh::derp
