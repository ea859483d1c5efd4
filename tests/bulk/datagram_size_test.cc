// Datagrams of another size while the stream runs, and paths that stop carrying the larger ones.

#include "bulk/cubic.hh"
#include "bulk/limits.hh"
#include "link.hh"

namespace dh::bulk::test {
namespace {

constexpr PathProperties kRelay{.datagram_bytes = 32'768, .is_relay = true, .initial_rtt = 60ms};
constexpr PathProperties kDirect{.datagram_bytes = 1472, .is_relay = false, .initial_rtt = 40ms};
constexpr LinkProperties kWire{.delay = 20ms, .bytes_per_second = 5e6, .queue_packets = 200};

StreamConfig with(Controller controller, std::uint64_t seed) {
  StreamConfig config = config_of(seed);
  config.controller = controller;
  return config;
}

class DatagramSize : public testing::TestWithParam<Controller> {};
INSTANTIATE_TEST_SUITE_P(Controllers, DatagramSize, testing::Values(Controller::Cubic, Controller::Bbr));

TEST_P(DatagramSize, GoesUpAndDownUnderLossAndNoByteIsLost) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    World world(seed, with(GetParam(), seed), 4'000'000);
    LinkProperties wire = kWire;
    wire.loss = 0.02;
    wire.jitter = 2ms;
    world.add_path(1, kDirect, wire);
    SeededRng dice(seed);
    constexpr std::size_t kSizes[] = {1200, 1472, 8972, 1201, 1000, 9000, 1392};
    while (!world.done() && world.now < Instant(60s)) {
      world.set_datagram_bytes(1, kSizes[dice.below(std::size(kSizes))]);
      world.run_for(1ms * (10 + dice.below(100)));
    }
    EXPECT_TRUE(world.complete()) << seed;
  }
}

TEST_P(DatagramSize, ThatNoLongerPassesFallsToTheBaseBeforeThePathStalls) {
  World world(3, with(GetParam(), 3), 12'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(1, kDirect, kWire);
  world.sender.prefer_path(1, world.now);
  world.run_for(500ms);
  ASSERT_EQ(world.sender.datagram_bytes(1), 1472u);
  world.paths[1].link.mtu = 1400;
  const Instant shrank = world.now;
  while (world.sender.black_holes(1) == 0 && world.now - shrank < 1s) {
    world.run_for(1ms);
    ASSERT_TRUE(!world.sender.stalls_at(1) || *world.sender.stalls_at(1) > world.now);
  }
  EXPECT_EQ(world.sender.black_holes(1), 1u);
  EXPECT_EQ(world.sender.datagram_bytes(1), kBaseDatagramBytes);
  EXPECT_LE(world.now - shrank, Duration(400ms));
  const auto confirmed = world.sender.counters().stream_bytes;
  world.run_for(200ms);
  EXPECT_GT(world.sender.counters().stream_bytes, confirmed);
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_EQ(world.sender.black_holes(1), 1u);
}

// Packets leave all the time, so no probe timeout ever comes.
TEST_P(DatagramSize, IsCheckedEvenWhileASlowWriterGoesOn) {
  World world(4, with(GetParam(), 4), 4'000'000);
  world.add_path(1, kDirect, {.delay = 20ms});
  world.write_bytes_per_second = 250e3;
  for (int i = 0; i < 200; ++i) world.run_for(10ms);
  ASSERT_EQ(world.sender.black_holes(1), 0u);
  world.paths[1].link.mtu = 1400;
  for (int i = 0; i < 20; ++i) world.run_for(10ms);
  EXPECT_EQ(world.sender.black_holes(1), 1u);
  world.write_bytes_per_second = 0;
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST_P(DatagramSize, IsNotBlamedForOrdinaryLoss) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    World world(seed, with(GetParam(), seed), 4'000'000);
    LinkProperties wire = kWire;
    wire.loss = 0.05;
    wire.queue_packets = 30;
    world.add_path(1, kDirect, wire);
    world.run();
    EXPECT_TRUE(world.complete());
    EXPECT_LE(world.sender.black_holes(1), 1u) << seed;
  }
}

TEST_P(DatagramSize, OfTheBaseOrOfARelayNeverFalls) {
  for (const PathProperties& path : {kRelay, PathProperties{.datagram_bytes = 1200, .initial_rtt = 40ms}}) {
    World world(6, with(GetParam(), 6), 12'000'000);
    world.add_path(0, path, kWire);
    world.run_for(500ms);
    world.paths[0].link.mtu = 1000;
    world.run_for(3s);
    EXPECT_EQ(world.sender.black_holes(0), 0u);
    EXPECT_EQ(world.sender.datagram_bytes(0), path.datagram_bytes);
  }
}

TEST(DatagramSizes, AreClampedToTheProtocolsLimits) {
  World world(7, config_of(7), 1'000'000);
  world.add_path(1, kDirect, kWire);
  world.sender.set_datagram_bytes(1, 1);
  EXPECT_EQ(world.sender.datagram_bytes(1), kMinDatagramBytes);
  world.sender.set_datagram_bytes(1, 1'000'000);
  EXPECT_EQ(world.sender.datagram_bytes(1), kMaxDatagramBytes);
  world.sender.set_datagram_bytes(9, 1400);
  EXPECT_EQ(world.sender.datagram_bytes(9), 0u);
}

TEST(DatagramSizes, LeaveAControllersWindowAsItIsButForItsLeast) {
  Cubic cubic({.datagram_bytes = 1200, .initial_packets = 10, .initial_rtt = 50ms});
  cubic.set_datagram_bytes(1472);
  EXPECT_EQ(cubic.window_bytes(), 12'000u);
  cubic.set_datagram_bytes(9000);
  EXPECT_EQ(cubic.window_bytes(), 9000 * kMinWindowPackets);
  cubic.set_datagram_bytes(1200);
  EXPECT_EQ(cubic.window_bytes(), 9000 * kMinWindowPackets);
}

}  // namespace
}  // namespace dh::bulk::test
