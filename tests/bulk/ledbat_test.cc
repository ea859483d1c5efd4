// The scavenger: its rules by hand, then beside others over a simulated bottleneck.

#include "bulk/ledbat.hh"

#include <cmath>

#include <gtest/gtest.h>

#include "bulk/bottleneck.hh"
#include "bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr double kSegment = 1000;

/// Feeds whole rounds of acks: each says that the window of the round before has arrived.
struct Fed {
  Ledbat ledbat{{.datagram_bytes = 1000, .initial_packets = 32, .initial_rtt = 50ms}};
  Instant now{10s};
  std::uint64_t number = 0;

  double window() const { return static_cast<double>(ledbat.window_bytes()); }
  void round(Duration rtt, bool limited = true) {
    now += rtt;
    const auto packets = std::max<std::uint64_t>(ledbat.window_bytes() / 1000, 1);
    number += packets;
    ledbat.on_ack_batch({.now = now,
                         .acked_bytes = packets * 1000,
                         .acked_packets = packets,
                         .largest_acked = number - 1,
                         .next_number = number,
                         .rtt_sample = rtt,
                         .smoothed_rtt = rtt,
                         .min_rtt = rtt,
                         .rate = std::nullopt,
                         .window_limited = limited});
  }
  void rounds(int count, Duration rtt, bool limited = true) {
    for (int i = 0; i < count; ++i) round(rtt, limited);
  }
  void lose(std::uint64_t packets = 1) {
    ledbat.on_lost({.now = now,
                    .lost_bytes = packets * 1000,
                    .lost_packets = packets,
                    .in_flight = ledbat.window_bytes(),
                    .newest_sent_at = now - 1ms});
  }
  /// In Avoidance, with a window of some 100 packets, shortly after a pause.
  void settle(Duration base) {
    while (window() < 100 * kSegment) round(base);
    lose();
    while (ledbat.state() != Ledbat::State::Pause) round(base);
    while (ledbat.state() != Ledbat::State::Avoidance) round(base);
  }
};

TEST(Ledbat, StartsWithTwoPacketsAndGrowsSlowerTheShorterTheRoundTrip) {
  Fed near, far;
  EXPECT_EQ(near.window(), 2 * kSegment);
  near.rounds(10, 5ms);  // 2 x 60 / 5 = 24, at most 16
  far.rounds(10, 120ms);
  EXPECT_NEAR(near.window(), 2 * kSegment * std::pow(1 + 1.0 / 16, 10), kSegment);
  EXPECT_NEAR(far.window(), 2 * kSegment * std::pow(2, 10), 10 * kSegment);
}

TEST(Ledbat, LeavesSlowStartAtThreeQuartersOfTheTarget) {
  Fed fed;
  fed.rounds(8, 50ms);
  fed.rounds(4, 94ms);
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::SlowStart);
  fed.rounds(4, 96ms);  // the least of four samples counts
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::Avoidance);
}

TEST(Ledbat, PausesTwoRoundTripsAfterSlowStartAndReturnsToItsWindow) {
  Fed fed;
  while (fed.window() < 60 * kSegment) fed.round(50ms);
  fed.lose();
  const double halved = fed.window();
  fed.round(50ms);
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::Avoidance);
  fed.round(50ms);
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::Pause);
  EXPECT_EQ(fed.window(), 2 * kSegment);
  fed.rounds(2, 50ms);
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::RampUp);
  while (fed.ledbat.state() == Ledbat::State::RampUp) fed.round(50ms);
  EXPECT_NEAR(fed.window(), halved, kSegment);
}

TEST(Ledbat, PausesATenthOfTheTime) {
  Fed fed;
  fed.settle(50ms);
  Duration paused{}, worked{};
  for (int i = 0; i < 2000; ++i) {
    const Instant before = fed.now;
    const bool works = fed.ledbat.state() == Ledbat::State::Avoidance;
    fed.round(50ms + (fed.window() > 100 * kSegment ? 70ms : 0ms));
    (works ? worked : paused) += fed.now - before;
  }
  EXPECT_NEAR(to_seconds(paused) / to_seconds(paused + worked), 0.1, 0.02);
}

TEST(Ledbat, AStreamThatLeavesItsWindowUnusedIsNotPaused) {
  Fed fed;
  fed.settle(50ms);
  const double window = fed.window();
  fed.rounds(1000, 50ms, false);
  EXPECT_EQ(fed.ledbat.state(), Ledbat::State::Avoidance);
  EXPECT_EQ(fed.window(), window);
}

TEST(Ledbat, ShrinksWithTheExcessAndAtMostToHalfInARound) {
  Fed fed;
  fed.settle(50ms);
  fed.rounds(3, 110ms);
  const double window = fed.window();
  fed.rounds(1, 122ms);  // the least of four is still 110: on target
  EXPECT_NEAR(fed.window(), window, kSegment);
  fed.rounds(3, 122ms);  // the last of them is the first seen as 20 % above
  EXPECT_NEAR(fed.window(), window * 0.8, 2 * kSegment);
  const double before = fed.window();
  fed.rounds(4, 300ms);
  EXPECT_NEAR(fed.window(), before * 0.8 * 0.8 * 0.8 * 0.5, 3 * kSegment);
  fed.rounds(20, 300ms);
  EXPECT_EQ(fed.window(), 2 * kSegment);
}

TEST(Ledbat, HalvesAtALossOnceARoundTrip) {
  Fed fed;
  fed.settle(50ms);
  const double window = fed.window();
  fed.lose();
  fed.lose(5);
  EXPECT_NEAR(fed.window(), window / 2, 1);
}

TEST(Ledbat, TakesBackWhatWasNoLoss) {
  Fed fed;
  fed.settle(50ms);
  const double window = fed.window();
  fed.lose(2);
  fed.ledbat.on_spurious(fed.now - 1ms, fed.now + 10ms);
  EXPECT_NEAR(fed.window(), window / 2, 1);
  fed.ledbat.on_spurious(fed.now - 1ms, fed.now + 10ms);
  EXPECT_NEAR(fed.window(), window, 1);
}

TEST(Ledbat, BelievesALongerRouteOnceItHasKeptStillForHalfAMinute) {
  Fed fed;
  fed.settle(50ms);
  const Instant changed = fed.now;
  while (fed.ledbat.base_delay() == 50ms && fed.now - changed < Duration(60s)) fed.round(200ms);
  EXPECT_EQ(fed.ledbat.base_delay(), Duration(200ms));
  EXPECT_GE(fed.now - changed, Duration(30s));
  EXPECT_LE(fed.now - changed, Duration(40s));
  fed.rounds(100, 200ms);
  EXPECT_GT(fed.window(), 10 * kSegment);
}

TEST(Ledbat, DoesNotTakeAQueueThatMovesForTheRoute) {
  Fed fed;
  fed.settle(50ms);
  for (int i = 0; i < 1000; ++i) fed.round(200ms + 1ms * (i % 40));
  EXPECT_EQ(fed.ledbat.base_delay(), Duration(50ms));
  EXPECT_LE(fed.window(), 3 * kSegment);
}

TEST(Ledbat, ForgetsABaseDelayAfterTenMinutes) {
  DelayHistory history;
  Instant now{1s};
  history.on_sample(20ms, now);
  for (; now < Instant(595s); now += 1s) history.on_sample(90ms, now);
  EXPECT_EQ(history.base(), Duration(20ms));
  for (; now < Instant(670s); now += 1s) history.on_sample(90ms, now);
  EXPECT_EQ(history.base(), Duration(90ms));
  EXPECT_EQ(history.queue(), Duration(0ms));
}

// Over a path.

constexpr FlowProperties kPolite{.controller = Controller::Ledbat, .bbr = {}};

BottleneckProperties path(double mbits, Duration rtt, double buffer_bdp) {
  BottleneckProperties link;
  link.bytes_per_second = mbit(mbits);
  link.rtt = rtt;
  link.buffer_bdp = buffer_bdp;
  return link;
}

double share(Bottleneck& world, const BottleneckProperties& link, std::size_t flow, Duration from,
             Duration until) {
  world.run_until(from);
  const double before = world.delivered(flow);
  world.run_until(until);
  return (world.delivered(flow) - before) / to_seconds(until - from) / link.bytes_per_second;
}

TEST(LedbatPath, FillsAnIdlePath) {
  for (const double buffer : {1.0, 4.0}) {
    const auto link = path(20, 40ms, buffer);
    Bottleneck world(link, {kPolite}, 1);
    EXPECT_GE(share(world, link, 0, 5s, 25s), 0.9) << buffer;
  }
}

double polite_share_beside(Controller other, double buffer_bdp) {
  const auto link = path(20, 40ms, buffer_bdp);
  Bottleneck world(link, {kPolite, {.controller = other, .bbr = {}, .start = 10s}}, 2);
  return share(world, link, 0, 20s, 50s);
}

TEST(LedbatPath, LeavesThePathToCubic) {
  EXPECT_LE(polite_share_beside(Controller::Cubic, 4), 0.03);
  // A queue of one round trip is shorter than the target: it learns to stay below half of it.
  EXPECT_LE(polite_share_beside(Controller::Cubic, 1), 0.10);
}

TEST(LedbatPath, LeavesThePathToBbr) {
  EXPECT_LE(polite_share_beside(Controller::Bbr, 1), 0.06);
  // Where nothing is lost, only the queue tells, and BBR's is shorter than the target most of the time.
  EXPECT_LE(polite_share_beside(Controller::Bbr, 4), 0.25);
}

TEST(LedbatPath, TakesItBackWhenTheOtherIsDone) {
  const auto link = path(20, 40ms, 4);
  Bottleneck world(
      link, {kPolite, {.controller = Controller::Cubic, .bbr = {}, .start = 5s, .bytes = 20'000'000}}, 3);
  world.run_until(20s);
  ASSERT_TRUE(world.finished_at(1));
  EXPECT_LE(*world.finished_at(1), Duration(15s));
  EXPECT_GE(share(world, link, 0, 20s, 30s), 0.8);  // a third of a packet more per round trip
}

TEST(LedbatPath, ALatecomerIsNoBetterOff) {
  const auto link = path(20, 40ms, 8);
  Bottleneck world(link, {kPolite, {.controller = Controller::Ledbat, .bbr = {}, .start = 10s}}, 4);
  const double first = share(world, link, 0, 40s, 80s);
  EXPECT_GE(first, 0.25);
  EXPECT_LE(first, 0.75);
}

TEST(LedbatPath, ItsQueueStaysNearTheTarget) {
  const auto link = path(20, 40ms, 8);
  Bottleneck world(link, {kPolite}, 5);
  world.run_until(5s);
  world.take_queue();
  world.run_until(20s);
  auto queue = world.take_queue();
  std::sort(queue.delays.begin(), queue.delays.end());
  EXPECT_LE(queue.delays[queue.delays.size() * 95 / 100], 0.08F);
}

TEST(LedbatPath, IsUsedThroughARelayToo) {
  StreamConfig config = config_of(9);
  config.controller = Controller::Ledbat;
  World world(9, config, 8'000'000);
  world.add_path(0, {.datagram_bytes = 32'512, .is_relay = true, .initial_rtt = 40ms},
                 {.delay = 20ms, .bytes_per_second = 2e6, .queue_packets = 32});
  world.run_for(200ms);
  EXPECT_STREQ(world.sender.controller_report(0)->name, "ledbat");
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_EQ(world.sender.counters().packets_lost, 0u);
  EXPECT_LE(world.now - Instant(1s), Duration(7s));
}

}  // namespace
}  // namespace dh::bulk::test
