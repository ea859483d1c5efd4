#include "bulk/receive_window.hh"

#include "bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

class Rounds {
public:
  explicit Rounds(bool shrinks) : window(kMiB, shrinks) { window.on_consumed(0, 0, 100ms, now_); }
  void operator()(int count, std::uint64_t bytes_each) {
    for (int i = 0; i < count; ++i) window.on_consumed(taken_ += bytes_each, 0, 100ms, now_ += 100ms);
  }
  ReceiveWindow window;

private:
  Instant now_{1s};
  std::uint64_t taken_ = 0;
};

TEST(ReceiveWindow, IsTwiceWhatThePathHoldsAtTheReadersRateAndTheFirst) {
  Rounds rounds(true);
  EXPECT_EQ(rounds.window.bytes(), kMiB);
  rounds(1, 4 * kMiB);
  EXPECT_EQ(rounds.window.bytes(), 13 * kMiB) << "a rate that rises";
  rounds(10, 4 * kMiB);
  EXPECT_EQ(rounds.window.bytes(), 9 * kMiB) << "a rate that stays";
}

TEST(ReceiveWindow, FallsWithTheRateOnlyWhereThatIsWanted) {
  for (const bool shrinks : {false, true}) {
    Rounds rounds(shrinks);
    rounds(2, 4 * kMiB);
    const std::uint64_t before = rounds.window.bytes();
    rounds(1, 0);
    EXPECT_EQ(rounds.window.bytes(), shrinks ? 9 * kMiB : before) << "one slow round may be a gap";
    rounds(10, 0);
    EXPECT_EQ(rounds.window.bytes(), shrinks ? kMiB : before);
  }
}

TEST(ReceiveWindow, DoesNotJudgeLessThanARound) {
  ReceiveWindow window(kMiB, true);
  Instant now{1s};
  for (std::uint64_t taken = 0; taken < 64 * kMiB; taken += kMiB, now += 1ms)
    window.on_consumed(taken, 0, 100ms, now);
  EXPECT_EQ(window.bytes(), kMiB);
}

/// Holds 2 MB.
LinkProperties long_path(double loss) {
  return {.loss = loss, .delay = 100ms, .bytes_per_second = 10e6, .queue_packets = 1600};
}

StreamConfig config_with(std::uint64_t seed, bool shrinks) {
  StreamConfig config = config_of(seed);
  config.receive_window = kMiB / 4;
  config.receive_window_shrinks = shrinks;
  return config;
}

TEST(ReceiveWindow, NeverHoldsAFastReaderBackForLong) {
  for (const bool shrinks : {false, true})
    for (const double loss : {0.0, 0.05})
      for (std::uint64_t seed = 0; seed < 2; ++seed) {
        SCOPED_TRACE(testing::Message() << shrinks << ' ' << loss << ' ' << seed);
        World world(seed, config_with(seed, shrinks), 20'000'000);
        world.add_path(0, {}, long_path(loss));
        world.run();
        ASSERT_TRUE(world.complete());
        EXPECT_LE(world.sender.held(HeldBy::Receiver), 500ms);
        // The writer always has more: what is acked behind a hole takes no room from it.
        EXPECT_EQ(world.sender.held(HeldBy::Source), 0ms);
      }
}

TEST(ReceiveWindow, KeepsLittleForAReaderThatFallsBehind) {
  for (const bool shrinks : {false, true}) {
    World world(1, config_with(1, shrinks), 60'000'000);
    world.add_path(0, {}, long_path(0));
    world.run_for(3s);
    world.read_at(1e6);  // 0.2 MB in a round trip
    world.run_for(12s);
    if (shrinks) {
      EXPECT_LE(world.receiver.buffered_bytes(), kMiB / 4 + 500'000);
    } else {
      EXPECT_GE(world.receiver.buffered_bytes(), 2 * kMiB);
    }
  }
}

}  // namespace
}  // namespace dh::bulk::test
