#include "derp/probe_plan.hh"

#include <gtest/gtest.h>

namespace dh::derp {
namespace {

// Region i (1..6) has i nodes ia, ib, ...; region 6 is not to be measured.
DerpMap sample_map() {
  DerpMap map;
  for (RegionId id = 1; id <= 6; ++id) {
    for (RegionId n = 0; n < id; ++n) {
      DerpNode node;
      node.name = std::to_string(id) + static_cast<char>('a' + n);
      node.host_name = node.name + ".example";
      map.regions[id].nodes.push_back(node);
    }
  }
  map.regions[6].no_measure_no_home = true;
  return map;
}

// "v4 1a,1a@12": one line per set, delays in ms.
std::string text(const DerpMap& map, const std::vector<ProbeSet>& plan) {
  std::string out;
  for (const ProbeSet& set : plan) {
    out += set.ipv6 ? "v6 " : "v4 ";
    bool first = true;
    for (const Probe& probe : set.probes) {
      if (!first) out += ",";
      first = false;
      out += map.regions.at(set.region).nodes.at(probe.node).name;
      const auto delay = std::chrono::duration_cast<std::chrono::milliseconds>(probe.delay).count();
      if (delay != 0) out += "@" + std::to_string(delay);
    }
    out += "\n";
  }
  return out;
}

std::map<RegionId, Duration> ms(std::initializer_list<std::pair<RegionId, int>> values) {
  std::map<RegionId, Duration> out;
  for (const auto& [id, latency] : values) out[id] = std::chrono::milliseconds(latency);
  return out;
}

constexpr UsableFamilies kBoth{.v4 = true, .v6 = true};
constexpr UsableFamilies kOnlyV4{.v4 = true, .v6 = false};

TEST(ProbePlan, FullRunAsksEveryRegionThreeTimesPerFamily) {
  const DerpMap map = sample_map();
  EXPECT_EQ(text(map, make_full_plan(map, kBoth)),
            "v4 1a,1a@100,1a@200\nv6 1a,1a@100,1a@200\n"
            "v4 2a,2b@100,2a@200\nv6 2a,2b@100,2a@200\n"
            "v4 3a,3b@100,3c@200\nv6 3a,3b@100,3c@200\n"
            "v4 4a,4b@100,4c@200\nv6 4a,4b@100,4c@200\n"
            "v4 5a,5b@100,5c@200\nv6 5a,5b@100,5c@200\n");
}

TEST(ProbePlan, WithoutALastReportTheIncrementalPlanIsTheFullOne) {
  const DerpMap map = sample_map();
  EXPECT_EQ(make_incremental_plan(map, kBoth, {}, 1), make_full_plan(map, kBoth));
}

TEST(ProbePlan, AsksTheFastestThreeAgain) {
  const DerpMap map = sample_map();
  const auto seen = ms({{1, 10}, {2, 20}, {3, 30}, {4, 40}});
  const LatencyReport last{.any = seen, .v4 = seen, .v6 = {}};
  EXPECT_EQ(text(map, make_incremental_plan(map, kOnlyV4, last, 0)), "v4 1a,1a@12\nv4 2a,2b@24\nv4 3a\n");
  EXPECT_EQ(text(map, make_incremental_plan(map, kBoth, last, 0)),
            "v4 1a,1a@12\nv6 1a\nv4 2a,2b@24\nv6 2a\nv4 3a\n");
}

TEST(ProbePlan, GivesHomeFourTriesInBothFamilies) {
  const DerpMap map = sample_map();
  const LatencyReport last{.any = ms({{1, 10}, {2, 20}, {3, 30}, {4, 40}}),
                           .v4 = ms({{1, 10}, {2, 20}}),
                           .v6 = ms({{3, 30}, {4, 40}})};
  EXPECT_EQ(text(map, make_incremental_plan(map, kBoth, last, 0)),
            "v4 1a,1a@12\nv6 1a,1a@12\nv4 2a,2b@24\nv6 2a,2b@24\nv4 3a\n");
  EXPECT_EQ(text(map, make_incremental_plan(map, kBoth, last, 1)),
            "v4 1a,1a@12,1a@124,1a@186\nv6 1a,1a@12,1a@124,1a@186\nv4 2a,2b@24\nv6 2a,2b@24\nv4 3a\n");
}

TEST(ProbePlan, AsksHomeEvenWhenItIsSlow) {
  const DerpMap map = sample_map();
  const auto seen = ms({{1, 50}, {2, 20}, {3, 30}, {4, 40}});
  const LatencyReport last{.any = seen, .v4 = seen, .v6 = seen};
  EXPECT_EQ(text(map, make_incremental_plan(map, kBoth, last, 1)),
            "v4 2a,2b@24\nv6 2a,2b@24\nv4 3a,3b@36\nv6 3a,3b@36\nv4 4a\n"
            "v4 1a,1a@60,1a@220,1a@330\nv6 1a,1a@60,1a@220,1a@330\n");
}

TEST(ProbePlan, SortsUnknownLatenciesLastAndSkipsAvoided) {
  DerpMap map = sample_map();
  const LatencyReport last{.any = ms({{1, 5}, {2, 3}, {3, 6}, {4, 0}, {5, 2}}), .v4 = {}, .v6 = {}};
  EXPECT_EQ(regions_by_latency(map, last, 0), (std::vector<RegionId>{5, 2, 1, 3, 4}));
  map.regions[2].avoid = true;
  EXPECT_EQ(regions_by_latency(map, last, 0), (std::vector<RegionId>{5, 1, 3, 4}));
  EXPECT_EQ(regions_by_latency(map, last, 2), (std::vector<RegionId>{5, 2, 1, 3, 4}));
}

TEST(ProbePlan, SendsNothingWhereStunOrTheFamilyIsOff) {
  DerpMap map;
  map.regions[1].nodes.resize(3);
  map.regions[1].nodes[0].stun_port.reset();
  map.regions[1].nodes[1].ipv6.kind = NodeAddress::Kind::Off;
  map.regions[1].nodes[2].ipv4.kind = NodeAddress::Kind::Off;
  map.regions[2].nodes.resize(1);
  map.regions[2].nodes[0].stun_port.reset();
  const auto plan = make_full_plan(map, kBoth);
  ASSERT_EQ(plan.size(), 2u);
  for (const Probe& probe : plan[0].probes) EXPECT_EQ(probe.node, 1u);
  for (const Probe& probe : plan[1].probes) EXPECT_EQ(probe.node, 2u);
}

}  // namespace
}  // namespace dh::derp
