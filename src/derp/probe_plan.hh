#pragma once

// Which relays get a STUN request, when, and over which family. Pure. Spec: docs/protocol/derp-map.md
// "Measuring".

#include <map>
#include <vector>

#include "base/time.hh"
#include "derp/derp_map.hh"

namespace dh::derp {

/// One request, `delay` after the run began (or after its region's turn came).
struct Probe {
  std::size_t node = 0;  // index into the region's nodes
  Duration delay{};
  bool operator==(const Probe&) const = default;
};

/// What one region is asked over one family; the first answer ends the set.
struct ProbeSet {
  RegionId region = 0;
  bool ipv6 = false;
  std::vector<Probe> probes;
  bool operator==(const ProbeSet&) const = default;
};

/// What an earlier run found; all empty before the first.
struct LatencyReport {
  std::map<RegionId, Duration> any;  // the smaller of both families
  std::map<RegionId, Duration> v4;
  std::map<RegionId, Duration> v6;
};

struct UsableFamilies {
  bool v4 = true;
  bool v6 = true;
};

/// What measuring one region gave.
struct RegionLatency {
  RegionId region = 0;
  Duration latency{};
  std::size_t node = 0;  // which node answered, index into the region's nodes
  bool operator==(const RegionLatency&) const = default;
};

/// Every measurable region, three tries 100 ms apart. Ordered by region id, IPv4 before IPv6.
std::vector<ProbeSet> make_full_plan(const DerpMap& map, UsableFamilies families);

/// The fastest three of the last report and `home` (0: none). Without a last report: the full plan.
/// Ordered by latency, IPv4 before IPv6.
std::vector<ProbeSet> make_incremental_plan(const DerpMap& map, UsableFamilies families,
                                            const LatencyReport& last, RegionId home);

/// Measurable regions by their last latency, unknown (absent or 0) last, then by id.
std::vector<RegionId> regions_by_latency(const DerpMap& map, const LatencyReport& last, RegionId home);

}  // namespace dh::derp
