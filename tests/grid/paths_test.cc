// Row N: a stream moves from the relay to a direct path and back. What counts is how long its reader waits.

#include "../bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr PathProperties kRelay{.datagram_bytes = 32'512, .is_relay = true, .initial_rtt = 60ms};
constexpr PathProperties kDirect{.datagram_bytes = 1400, .is_relay = false, .initial_rtt = 20ms};

World world_of(std::uint64_t seed) {
  return {seed, config_of(seed), 60'000'000};
}

/// Longest time without a byte for the reader, in steps of 5 ms.
Duration longest_stall(World& world, Duration time) {
  Duration longest{}, stall{};
  for (Duration passed{}; passed < time; passed += 5ms) {
    const std::size_t before = world.received.size();
    world.run_for(5ms);
    stall = world.received.size() > before ? Duration::zero() : stall + 5ms;
    longest = std::max(longest, stall);
  }
  return longest;
}

TEST(GridPaths, PromotionStallsNoLongerThanATenthOfASecond) {
  for (const Duration at : {Duration(200ms), Duration(1s), Duration(5s)}) {
    World world = world_of(1);
    world.add_path(0, kRelay, {.delay = 30ms, .bytes_per_second = 5e6, .queue_packets = 32});
    world.run_for(at);
    world.add_path(1, kDirect, {.delay = 10ms, .bytes_per_second = 10e6, .queue_packets = 200});
    world.sender.prefer_path(1, world.now);
    EXPECT_LE(longest_stall(world, 2s), Duration(100ms)) << to_seconds(at) << " s";
  }
}

TEST(GridPaths, DemotionStallsNoLongerThanHalfASecondAndTheWayBackATenth) {
  World world = world_of(2);
  world.add_path(0, kRelay, {.delay = 30ms, .bytes_per_second = 5e6, .queue_packets = 32});
  world.add_path(1, kDirect, {.delay = 10ms, .bytes_per_second = 10e6, .queue_packets = 200});
  world.sender.prefer_path(1, world.now);
  world.run_for(1s);
  world.paths[1].link.dead = true;
  Duration stall{};
  for (std::size_t before = world.received.size(); stall < 2s;
       stall += 5ms) {  // what is under way still arrives
    world.run_for(5ms);
    if (world.received.size() > before) {
      if (stall > 50ms) break;
      before = world.received.size();
      stall = -5ms;
    }
    if (const auto due = world.sender.stalls_at(1); due && *due <= world.now) {  // as the session does
      world.sender.set_path_usable(1, false, 0ms, world.now);
      world.receiver.set_path_usable(1, false);
    }
  }
  EXPECT_LE(stall, Duration(500ms));
  world.run_for(1s);
  world.paths[1].link.dead = false;
  world.receiver.set_path_usable(1, true);
  world.sender.set_path_usable(1, true, 20ms, world.now);
  world.sender.prefer_path(1, world.now);
  EXPECT_LE(longest_stall(world, 2s), Duration(100ms));
}

}  // namespace
}  // namespace dh::bulk::test
