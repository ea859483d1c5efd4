#include "quic/quic_world.hh"

namespace dh::quic::test {
namespace {

class UnderLoss : public testing::TestWithParam<int> {};

TEST_P(UnderLoss, EveryByteArrives) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    QuicWorld world(seed, {.delay = 15ms, .loss = GetParam() / 100.0});
    world.start();
    ASSERT_TRUE(world.run(30s, [&] { return world.seen[0].established && world.seen[1].established; }));
    const StreamId stream = world.client().open_stream().value();
    Pump up(world, 0, stream, pattern(400'000, seed)), down(world, 1, stream, pattern(400'000, seed + 9));
    world.application = [&](std::size_t at) {
      if (at == 0) up.go();
      if (at == 1 && !world.seen[1].opened.empty()) down.go();
    };
    ASSERT_TRUE(world.run(120s, [&] { return world.seen[0].ended[stream] && world.seen[1].ended[stream]; }));
    EXPECT_EQ(world.seen[1].data[stream], up.data());
    EXPECT_EQ(world.seen[0].data[stream], down.data());
  }
}
INSTANTIATE_TEST_SUITE_P(Percent, UnderLoss, testing::Values(1, 2, 5, 10));

/// One endless stream in each direction.
struct Flood {
  explicit Flood(QuicWorld& w) : world(w), stream(w.client().open_stream().value()), block(pattern(65536)) {
    world.keeps_data = false;
    world.client().write(stream, as_bytes("go"));
    world.application = [this](std::size_t at) {
      const bool knows = at == 0 || !world.seen[1].opened.empty();
      for (std::size_t taken = block.size(); sends[at] && knows && taken == block.size();)
        written[at] += taken = world.nodes[at]->write(stream, block);
    };
  }
  /// Bytes a second that arrived at `at` meanwhile.
  double rate(std::size_t at, Duration during) {
    const std::uint64_t before = world.received[at];
    world.run(during);
    return static_cast<double>(world.received[at] - before) / to_seconds(during);
  }
  /// The same of what the link carried, in whatever order it came: behind a hole a stream stands still and
  /// catches up in an instant, which says little about a second or two.
  double carried(std::size_t at, Duration during) {
    const std::uint64_t before = world.nodes[at]->counters().bytes_in;
    world.run(during);
    return static_cast<double>(world.nodes[at]->counters().bytes_in - before) / to_seconds(during);
  }
  /// Both stop: everything has come to arrive.
  bool completes(Duration within) {
    sends = {};
    return world.run(within, [&] {
      return world.received[0] == written[1] && world.received[1] == written[0] + 2;  // "go"
    });
  }
  QuicWorld& world;
  StreamId stream;
  Bytes block;
  std::array<bool, 2> sends = {true, true};
  std::array<std::uint64_t, 2> written{};
};

TEST(QuicPath, ASwitchToAnotherRateMtuAndRoundTripIsTakenAtOnceAndLosesNothing) {
  // A relay: 8 KiB datagrams, 80 ms round trip, 1 MB/s. Then a direct path: 1,400 bytes, 10 ms, 6 MB/s. And
  // back.
  const LinkModel relay{
      .delay = 40ms, .loss = 0, .bytes_per_second = 1e6, .queue_bytes = 256 << 10, .largest = 8192};
  const LinkModel direct{
      .delay = 5ms, .loss = 0, .bytes_per_second = 6e6, .queue_bytes = 256 << 10, .largest = 1400};
  QuicWorld world(1, relay);
  for (Config& config : world.configs) config.datagram_bytes = 8192;
  world.establish();
  Flood flood(world);
  world.run(2s);
  EXPECT_GT(flood.carried(1, 2s), 0.75 * 1e6);
  EXPECT_GT(flood.carried(0, 2s), 0.75 * 1e6);
  world.links = {direct, direct};
  for (auto& node : world.nodes) node->on_path_changed(1400, world.now);
  world.run(1s);
  EXPECT_GT(flood.carried(1, 1s), 0.7 * 6e6);
  EXPECT_GT(flood.carried(0, 1s), 0.7 * 6e6);
  world.links = {relay, relay};
  for (auto& node : world.nodes) node->on_path_changed(8192, world.now);
  world.run(2s);
  EXPECT_GT(flood.carried(1, 2s), 0.7 * 1e6);
  EXPECT_GT(flood.carried(0, 2s), 0.7 * 1e6);
  EXPECT_TRUE(flood.completes(20s));
  EXPECT_TRUE(world.client().is_established());
  EXPECT_TRUE(world.server().is_established());
}

class QuicPathTo : public testing::TestWithParam<std::size_t> {};

TEST_P(QuicPathTo, LosingEverySecondDatagramOfALargeWindowDoesNotEndIt) {
  const std::size_t to = GetParam(), from = 1 - to;
  QuicWorld world(1, {.delay = 20ms, .bytes_per_second = 60e6, .queue_bytes = 3 << 20});
  world.establish();
  Flood flood(world);
  flood.sends[to] = false;
  ASSERT_TRUE(world.run(5s, [&] { return world.nodes[from]->path().window_bytes > (7u << 19); }));
  world.links[to].loss = 0.5;  // what a queue does that is full
  world.run(200ms);
  world.links[to].loss = 0;
  EXPECT_GT(world.nodes[to]->counters().unplaced, 0u);
  world.run(500ms);
  EXPECT_GT(flood.rate(to, 500ms), 10e6);
  EXPECT_FALSE(world.server().is_closed());
  EXPECT_FALSE(world.client().is_closed());
}
INSTANTIATE_TEST_SUITE_P(ClientAndServer, QuicPathTo, testing::Values(0, 1));

TEST(QuicPath, AnInterruptionWhileANewPathIsValidatedEndsNothing) {
  for (Duration cut = 0ms; cut < 80ms; cut += 10ms) {
    SCOPED_TRACE(testing::Message() << "cut after " << cut / 1ms << " ms");
    QuicWorld world(1, {.delay = 10ms});
    world.establish();
    const StreamId stream = world.client().open_stream().value();
    world.client().write(stream, as_bytes("before"));
    world.run(500ms);
    world.server().on_path_changed(1200, world.now);
    world.client().write(stream, as_bytes("a"));  // small: the server may answer with thrice as much at most
    world.run(cut);
    for (LinkModel& link : world.links) link.loss = 1;
    world.server().write(stream, as_bytes("meanwhile"));
    world.run(20s);
    ASSERT_LT(world.steps, 10'000u);  // it sleeps meanwhile
    for (LinkModel& link : world.links) link.loss = 0;
    for (auto& node : world.nodes)
      node->on_path_changed(1200, world.now);  // as the session does: heard again
    ASSERT_TRUE(world.run(5s, [&] { return world.seen[0].data[stream].size() == 9; }));
    EXPECT_EQ(world.seen[1].data[stream].size(), 7u);
    EXPECT_FALSE(world.server().is_closed());
    EXPECT_FALSE(world.client().is_closed());
  }
}

TEST(QuicPath, ThirtySwitchesInHalfAMinuteDoNotEndIt) {
  QuicWorld world(5, {.delay = 10ms, .loss = 0.01, .bytes_per_second = 2e6});
  world.establish();
  Flood flood(world);
  for (int i = 0; i < 15; ++i) {
    world.nodes[0]->on_path_changed(i % 2 == 0 ? 1200 : 8192, world.now);
    world.run(from_seconds(world.rng.unit()));
    world.nodes[1]->on_path_changed(i % 2 == 0 ? 1200 : 8192, world.now);
    world.run(from_seconds(world.rng.unit()));
  }
  world.run(2s);
  EXPECT_GT(flood.rate(0, 3s), 0.6 * 2e6);
  EXPECT_GT(flood.rate(1, 3s), 0.6 * 2e6);
}

TEST(QuicPath, DataFlowsAtOnceWhenANetworkReturnsAfterTenMinutes) {
  QuicWorld world(6, {.delay = 10ms, .loss = 0, .bytes_per_second = 2e6});
  world.establish();
  Flood flood(world);
  world.run(1s);
  for (LinkModel& link : world.links) link.largest = 0;
  world.run(10min);
  for (LinkModel& link : world.links) link.largest = kMaxDatagramBytes;
  for (auto& node : world.nodes) node->on_path_changed(1200, world.now);
  EXPECT_GT(flood.rate(0, 1s), 100'000);
  EXPECT_GT(flood.rate(1, 1s), 100'000);
}

TEST(QuicPath, OnePercentOfLossCostsLittle) {
  const double capacity = 5e6;
  QuicWorld world(7, {.delay = 20ms, .loss = 0.01, .bytes_per_second = capacity, .queue_bytes = 512 << 10});
  world.establish();
  Flood flood(world);
  flood.sends[1] = false;
  world.run(3s);
  EXPECT_GT(flood.rate(1, 5s), 0.8 * capacity);
}

}  // namespace
}  // namespace dh::quic::test
