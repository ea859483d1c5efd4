// A path whose packets are spread over several lanes, each with numbers and keys of its own.

#include "bulk/limits.hh"
#include "bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr PathId kPath = 4;
constexpr PathProperties kDirect{.datagram_bytes = 1400, .is_relay = false, .initial_rtt = 20ms};
constexpr PathProperties kRelay{.datagram_bytes = 32'768, .is_relay = true, .initial_rtt = 60ms};
constexpr LinkProperties kLink{.delay = 10ms, .bytes_per_second = 12.5e6, .queue_packets = 300};

void add_lanes(World& world, std::size_t count, Duration step) {
  for (PathId lane = kPath + 1; lane < kPath + count; ++lane)
    world.add_lane(kPath, lane, step * (lane - kPath));
}

TEST(Lanes, ShareTheStreamAndOvertakingIsNoLoss) {
  World world(1, config_of(1), 20'000'000);
  world.threads = true;
  world.add_path(kPath, kDirect, kLink);
  add_lanes(world, 4, 2ms);  // the last one arrives 6 ms, 50 packets, behind the first
  world.run();
  ASSERT_TRUE(world.complete());
  const StreamCounters& counters = world.sender.counters();
  EXPECT_EQ(counters.spurious_losses, 0u);
  for (const auto& [id, lane] : world.lanes)
    EXPECT_GT(lane.packets, counters.packets_sent / 5) << "lane " << int{id};
}

// Within a lane three packets say it as they always did.
TEST(Lanes, WhatIsLostIsRepairedAsOnOneLane) {
  for (const double loss : {0.01, 0.1}) {
    std::uint64_t timeouts[2];
    Instant ended[2];
    for (const std::size_t lanes : {std::size_t{1}, kMaxLanes}) {
      World world(2, config_of(2), 10'000'000);
      LinkProperties link = kLink;
      link.loss = loss;
      world.add_path(kPath, kDirect, link);
      add_lanes(world, lanes, 1ms);
      world.run();
      ASSERT_TRUE(world.complete());
      timeouts[lanes > 1] = world.sender.counters().probe_timeouts;
      ended[lanes > 1] = world.now;
    }
    EXPECT_LE(timeouts[1], timeouts[0] + 3) << loss;
    EXPECT_LT(to_seconds(ended[1] - Instant(1s)), 1.3 * to_seconds(ended[0] - Instant(1s))) << loss;
  }
}

TEST(Lanes, SurviveEverythingALinkCanDo) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    StreamConfig config = config_of(seed);
    config.key_update_packets = seed % 2 == 0 ? 50 : 0;
    World world(seed, config, 1'000'000);
    world.threads = seed % 3 != 0;
    world.writes_in_place = seed % 2 == 1;
    world.add_path(kPath, kDirect,
                   {.loss = 0.05,
                    .duplicate = 0.05,
                    .corrupt = 0.02,
                    .forge = 0.01,
                    .delay = 10ms,
                    .jitter = 5ms,
                    .bytes_per_second = 5e6,
                    .queue_packets = 60});
    add_lanes(world, 2 + seed % 3, 1ms);
    world.run();
    EXPECT_TRUE(world.complete()) << "seed " << seed;
    if (config.key_update_packets == 0) continue;
    EXPECT_GT(world.sender.counters().key_updates, 4u);
  }
}

// The path is the same: nothing it has learnt is forgotten, and nothing overshoots.
TEST(Lanes, MayComeWhileTheStreamRuns) {
  World world(3, config_of(3), 60'000'000);
  world.add_path(kPath, kDirect, kLink);
  world.run_for(2s);
  const StreamCounters before = world.sender.counters();
  add_lanes(world, 3, 1ms);
  world.run_for(2s);
  const StreamCounters after = world.sender.counters();
  EXPECT_EQ(after.packets_lost, before.packets_lost);
  EXPECT_GT(after.stream_bytes - before.stream_bytes, 22'000'000u);
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Lanes, AllGoWithTheirPathWhenItDies) {
  World world(4, config_of(4), 10'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(kPath, kDirect, kLink);
  add_lanes(world, 4, 1ms);
  world.sender.prefer_path(kPath, world.now);
  world.run_for(300ms);
  world.paths[kPath].link.dead = true;
  while (!world.sender.stalls_at(kPath) || *world.sender.stalls_at(kPath) > world.now) world.run_for(1ms);
  world.sender.set_path_usable(kPath, false, 0ms, world.now);
  world.run_for(1s);
  EXPECT_FALSE(world.sender.stalls_at(kPath)) << "something of it is still in flight";
  world.paths[kPath].link.dead = false;
  world.sender.set_path_usable(kPath, true, 20ms, world.now);
  world.sender.prefer_path(kPath, world.now);
  world.run();
  EXPECT_TRUE(world.complete());
}

// The end of a stream lies on whatever lanes its last packets took.
TEST(Lanes, ALostTailIsRepairedEarly) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed, config_of(seed), 90'000);  // two runs
    LinkProperties link = kLink;
    link.loss = 0.2;
    world.add_path(kPath, kDirect, link);
    add_lanes(world, 4, 0ms);
    world.run();
    ASSERT_TRUE(world.complete());
    EXPECT_LT(world.now, Instant(1s) + 1500ms) << "seed " << seed;
  }
}

}  // namespace
}  // namespace dh::bulk::test
