#include "derp/home_region.hh"

#include <gtest/gtest.h>

namespace dh::derp {
namespace {

constexpr Instant at(double seconds) {
  return Instant(from_seconds(seconds));
}

using Latencies = std::map<RegionId, double>;  // seconds

struct Step {
  double after;  // seconds since the step before; the first since t = 123
  Latencies latencies;
};

struct Row {
  const char* name;
  std::vector<Step> steps;
  RegionId home;
  std::map<RegionId, double> scores;
  std::map<RegionId, Instant> frames;
  std::optional<RegionId> forced;
  std::size_t reports = 0;  // 0: not checked
};

// Decisions known from Tailscale's own client; we make the same ones.
std::vector<Row> rows() {
  const Latencies a{{1, 2}, {2, 3}};
  const Latencies b{{1, 4}, {2, 3}};
  const Latencies ones{{1, 1}, {2, 2}};
  const Instant old_frame = at(119) - 1ns;
  return {
      {"first report", {{0, a}}, 1, {}, {}, {}},
      {"one slower answer changes nothing", {{0, a}, {1, b}}, 1, {}, {}, {}},
      {"home unanswered", {{0, a}, {1, b}, {2, {{2, 3}}}}, 2, {}, {}, {}},
      {"home back, history remembers", {{0, a}, {1, b}, {2, {{2, 3}}}, {3, b}}, 1, {}, {}, {}},
      {"history expires", {{0, ones}, {1, ones}, {2, ones}, {3, ones}, {600, {{3, 3}}}}, 3, {}, {}, {}, 1},
      {"not enough better", {{0, {{1, 4}, {2, 5}}}, {1, b}}, 1, {}, {}, {}},
      {"small in absolute terms", {{0, {{1, .004}, {2, .005}}}, {1, {{1, .004}, {2, .001}}}}, 1, {}, {}, {}},
      {"clearly better", {{0, {{1, 4}, {2, 5}}}, {1, {{1, 4}, {2, 1}}}}, 2, {}, {}, {}},
      {"11 ms but not a third", {{0, {{1, .034}, {2, .035}}}, {1, {{1, .034}, {2, .023}}}}, 1, {}, {}, {}},
      {"score prefers", {{1, {{1, 10}, {2, 8}}}}, 1, {{1, 2.0 / 3}}, {}, {}},
      {"score is not everything", {{1, {{1, 100}, {2, 10}}}}, 2, {{1, 2.0 / 3}}, {}, {}},
      {"senseless scores", {{1, {{1, 4}, {2, 5}}}}, 1, {{1, 0}, {2, -1}}, {}, {}},
      {"frames keep home", {{0, a}, {2, b}, {2, {{2, 3}}}}, 1, {}, {{1, at(129)}}, {}},
      {"old frames do not", {{0, a}, {2, b}, {2, {{2, 3}}}}, 2, {}, {{1, old_frame}}, {}},
      {"forced", {{1, a}, {2, b}}, 2, {}, {}, 2},
      {"forced but gone", {{1, {{1, 2}, {2, 1}}}, {2, {{1, 4}}}}, 1, {}, {}, 2},
      {"forced, only frames", {{1, {{1, 2}}}, {2, {{1, 4}}}}, 2, {}, {{2, at(124)}}, 2},
      {"forced, frames too old", {{1, {{1, 2}}}, {9, {{1, 4}}}}, 1, {}, {{2, at(123)}}, 2},
      {"UDP lost, frames", {{0, a}, {30, {}}, {2, {}}, {2, {}}, {2, {}}, {2, {}}}, 1, {}, {{1, at(123)}}, {}},
      {"UDP lost for long", {{0, a}, {30, {}}, {120, {}}}, 0, {}, {{1, at(123)}}, {}},
  };
}

std::map<RegionId, Duration> durations(const Latencies& latencies) {
  std::map<RegionId, Duration> out;
  for (const auto& [id, seconds] : latencies) out[id] = from_seconds(seconds);
  return out;
}

DerpMap map_of(std::initializer_list<RegionId> regions) {
  DerpMap map;
  for (const RegionId id : regions) map.regions[id].nodes.resize(1);
  return map;
}

TEST(HomeRegion, DecidesAsTheTableSays) {
  ASSERT_EQ(rows().size(), 20u);
  for (const Row& row : rows()) {
    HomeRegion home;
    DerpMap map = map_of({1, 2, 3});
    map.scores = row.scores;
    home.set_map(map);
    home.force(row.forced);
    for (const auto& [region, when] : row.frames) home.on_frame(region, when);
    double time = 123;
    for (const Step& step : row.steps) {
      time += step.after;
      home.on_report(durations(step.latencies), at(time - 0.1), at(time));
    }
    EXPECT_EQ(home.home(), row.home) << row.name;
    if (row.reports != 0) {
      EXPECT_EQ(home.reports_kept(), row.reports) << row.name;
    }
  }
}

TEST(HomeRegion, NeverSettlesWhereTheMapForbidsIt) {
  HomeRegion home;
  DerpMap map = map_of({1, 2, 3});
  map.regions[1].no_measure_no_home = true;
  map.regions[2].nodes[0].stun_only = true;
  home.set_map(map);
  EXPECT_EQ(home.on_report({{1, 1ms}, {2, 2ms}, {3, 300ms}}, at(1), at(2)), 3u);
}

TEST(HomeRegion, LeavesARegionWhoseRelayCannotBeReachedForFiveMinutes) {
  HomeRegion home;
  home.set_map(map_of({1, 2}));
  const std::map<RegionId, Duration> latencies{{1, 1ms}, {2, 200ms}};
  EXPECT_EQ(home.on_report(latencies, at(1), at(2)), 1u);
  home.on_connect_failed(1, at(3));
  EXPECT_EQ(home.on_report(latencies, at(4), at(5)), 2u);
  EXPECT_EQ(home.on_report(latencies, at(302), at(302.9)), 2u);
  EXPECT_EQ(home.on_report(latencies, at(303), at(303.1)), 1u);
}

TEST(HomeRegion, KeepsABoundedHistory) {
  HomeRegion home;
  for (int i = 0; i < 1000; ++i) home.on_report({{1, 1ms}}, at(1), at(1 + i * 0.001));
  EXPECT_EQ(home.reports_kept(), HomeRegion::kMaxReports);
}

}  // namespace
}  // namespace dh::derp
