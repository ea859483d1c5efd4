// Whole streams with BBR through a bottleneck, in virtual time: what it must reach. All paths are slow ones,
// so that this stays quick; bench/cc_grid.cc has the fast ones.

#include <gtest/gtest.h>

#include "bulk/bottleneck.hh"

namespace dh::bulk::test {
namespace {

BottleneckProperties path(double mbits, Duration rtt, double buffer_bdp = 1) {
  BottleneckProperties link;
  link.bytes_per_second = mbit(mbits);
  link.rtt = rtt;
  link.buffer_bdp = buffer_bdp;
  return link;
}

struct Outcome {
  double share = 0;       // of the link's rate, loss taken off
  double queue_rtts = 0;  // 95th percentile
  double floor = 0;
  double resent = 0;  // share of all bytes
};

/// One or more flows; the first is measured from `from` to `until`.
Outcome run(const BottleneckProperties& link, Duration from, Duration until,
            std::vector<FlowProperties> flows = {FlowProperties{}}) {
  Bottleneck world(link, flows, 42);
  world.run_until(from);
  world.take_queue();
  const double before = world.delivered(0);
  world.run_until(until);
  auto queue = world.take_queue();
  Outcome outcome;
  outcome.share =
      (world.delivered(0) - before) / to_seconds(until - from) / link.bytes_per_second / (1 - link.loss);
  if (!queue.delays.empty()) {
    const auto at = queue.delays.begin() + static_cast<std::ptrdiff_t>(queue.delays.size() * 95 / 100);
    std::nth_element(queue.delays.begin(), at, queue.delays.end());
    outcome.queue_rtts = static_cast<double>(*at) / to_seconds(link.rtt);
  }
  outcome.floor = world.report(0).loss_floor;
  const StreamCounters& counters = world.sender(0).counters();
  outcome.resent =
      static_cast<double>(counters.resent_bytes) / static_cast<double>(counters.bytes_on_wire_sent);
  return outcome;
}

TEST(BbrPath, UsesACleanPathWithoutFillingItsQueue) {
  const Outcome outcome = run(path(20, 40ms), 2s, 12s);
  EXPECT_GE(outcome.share, 0.95);
  EXPECT_LE(outcome.queue_rtts, 1);
  EXPECT_EQ(outcome.floor, 0);
}

TEST(BbrPath, LivesWithLossesThatComeInBursts) {
  for (const double loss : {0.01, 0.05}) {
    BottleneckProperties link = path(20, 60ms);
    link.loss = loss;
    link.burst_packets = 4;
    EXPECT_GE(run(link, 3s, 23s).share, 0.9) << loss;
  }
}

// An ack tells of holes until the sender has heard of them, and then no more: a return path with a hundredth
// of the rate carries enough of them.
TEST(BbrPath, AcksStaySmallWhereMuchIsLost) {
  BottleneckProperties link = path(20, 40ms);
  link.loss = 0.03;
  Bottleneck world(link, {FlowProperties{}}, 3);
  world.run_until(10s);
  const StreamCounters& counters = world.receiver(0).counters();
  ASSERT_GT(counters.acks_sent, 1000u);
  EXPECT_LE(counters.bytes_on_wire_sent / counters.acks_sent, 110u);  // 61 with one range, 8 for each more
  BottleneckProperties thin = path(20, 40ms);
  thin.ack_bytes_per_second = thin.bytes_per_second / 100;
  EXPECT_GE(run(thin, 5s, 20s).share, 0.9);
}

// Loss detection goes through what was sent once, not again with every ack.
TEST(BbrPath, LooksAtEachPacketAboutOnce) {
  for (const auto& [loss, reorder] : {std::pair{0.0, 0.0}, {0.03, 0.0}, {0.0, 0.02}, {0.03, 0.02}}) {
    BottleneckProperties link = path(50, 60ms);
    link.loss = loss;
    link.reorder = reorder;
    Bottleneck world(link, {FlowProperties{}}, 7);
    world.run_until(8s);
    const StreamCounters& counters = world.sender(0).counters();
    const double looks =
        static_cast<double>(counters.loss_checks) / static_cast<double>(counters.packets_sent);
    EXPECT_LE(looks, 1.2) << loss << " lost, " << reorder << " reordered";
  }
}

TEST(BbrPath, UsesAPathThatLosesOnePacketInAHundred) {
  BottleneckProperties link = path(20, 60ms);
  link.loss = 0.01;
  const Outcome outcome = run(link, 3s, 18s);
  EXPECT_GE(outcome.share, 0.90);
  EXPECT_NEAR(outcome.floor, 0.01, 0.008);
  EXPECT_LE(outcome.resent, 0.01 + 0.01);
}

TEST(BbrPath, UsesAPathThatLosesFivePacketsInAHundred) {
  BottleneckProperties link = path(20, 60ms);
  link.loss = 0.05;
  const Outcome outcome = run(link, 3s, 18s);
  EXPECT_GE(outcome.share, 0.85);
  EXPECT_NEAR(outcome.floor, 0.05, 0.02);
  EXPECT_LE(outcome.resent, 0.05 + 0.02);
}

TEST(BbrPath, WithoutItsExtensionsItCollapsesThere) {  // so that the tests above test something
  BottleneckProperties link = path(20, 60ms);
  link.loss = 0.05;
  EXPECT_LT(run(link, 3s, 13s, {{.bbr = BbrConfig::draft()}}).share, 0.3);
  EXPECT_LT(run(link, 3s, 13s, {{.controller = Controller::Cubic, .bbr = {}}}).share, 0.2);
}

// 12.5 MB in flight do not fit into the 8 MiB that a receiver begins with.
TEST(BbrPath, BuffersGrowWithALongAndFastPath) {
  EXPECT_GE(run(path(1000, 100ms), 3s, 5s, {{.usual_buffers = true}}).share, 0.9);
}

TEST(BbrPath, UsesAPathWithATenthOfTheUsualBuffer) {
  EXPECT_GE(run(path(30, 60ms, 0.1), 3s, 15s).share, 0.85);
}

TEST(BbrPath, KeepsTheQueueOfADeepBufferBelowOneRoundTrip) {
  const Outcome outcome = run(path(20, 40ms, 16), 3s, 15s);
  EXPECT_GE(outcome.share, 0.95);
  EXPECT_LE(outcome.queue_rtts, 1);
}

TEST(BbrPath, SharesWithACubicFlow) {
  for (const double buffer : {0.5, 4.0}) {
    const Outcome outcome = run(path(20, 40ms, buffer), 20s, 50s,
                                {FlowProperties{}, {.controller = Controller::Cubic, .bbr = {}}});
    EXPECT_GE(outcome.share, 0.25) << buffer;
    EXPECT_LE(outcome.share, 0.80) << buffer;
  }
}

TEST(BbrPath, SharesWithItself) {
  const Outcome outcome = run(path(20, 40ms), 20s, 45s, {FlowProperties{}, {.bbr = {}, .start = 5s}});
  EXPECT_GE(outcome.share, 0.35);
  EXPECT_LE(outcome.share, 0.65);
}

TEST(BbrPath, StartsWithinASecond) {
  BottleneckProperties link = path(50, 50ms);
  EXPECT_GE(run(link, 1s, 2s).share, 0.9);
}

TEST(BbrPath, FollowsAPathThatGetsTenTimesFaster) {
  BottleneckProperties link = path(2, 40ms, 4);
  link.steps = {{6s, mbit(20)}};
  EXPECT_GE(run(link, 12s, 20s).share, 9);  // of the first rate
}

TEST(BbrPath, LeavesNoQueueBehindWhenThePathGetsTenTimesSlower) {
  BottleneckProperties link = path(20, 40ms);
  link.steps = {{6s, mbit(2)}};
  const Outcome outcome = run(link, 10s, 20s);
  EXPECT_GE(outcome.share, 0.085);
  EXPECT_LE(outcome.queue_rtts, 2);  // 10 fit in
}

TEST(BbrPath, IsBackASecondAfterTwoSecondsOfSilence) {
  BottleneckProperties link = path(20, 40ms);
  link.outages = {{5s, 7s}};
  EXPECT_GE(run(link, 8s, 12s).share, 0.9);
}

TEST(BbrPath, ABusyHostCostsLittle) {
  BottleneckProperties link = path(50, 20ms);
  link.off_cpu = 5ms;
  EXPECT_GE(run(link, 2s, 6s).share, 0.93);
}

TEST(BbrPath, JitterAndACrookedReturnPathCostLittle) {
  BottleneckProperties jitter = path(20, 40ms);
  jitter.jitter = 20ms;
  jitter.loss = 0.01;
  const Outcome jittery = run(jitter, 3s, 15s);
  EXPECT_GE(jittery.share, 0.88);
  EXPECT_NEAR(jittery.floor, 0.01, 0.008);
  BottleneckProperties gathered = path(20, 40ms);
  gathered.ack_gather = 20ms;
  gathered.ack_loss = 0.05;
  EXPECT_GE(run(gathered, 3s, 15s).share, 0.9);
  BottleneckProperties congested = path(20, 40ms);
  congested.ack_congestion = 50ms;
  EXPECT_GE(run(congested, 3s, 15s).share, 0.88);
}

TEST(BbrPath, ARateLimiterIsNotTakenForALossyPath) {
  BottleneckProperties link = path(20, 50ms);
  link.policer_seconds = 0.03;
  const Outcome outcome = run(link, 3s, 18s);
  EXPECT_GE(outcome.share, 0.93);
  EXPECT_LE(outcome.floor, 0.01);
}

TEST(BbrPath, CarriesAStreamToItsEndOverATerriblePath) {
  BottleneckProperties link = path(10, 80ms, 0.5);
  link.loss = 0.08;
  link.jitter = 10ms;
  link.reorder = 0.02;
  link.duplicate = 0.05;
  link.ack_loss = 0.2;
  Bottleneck world(link, {{.bbr = {}, .bytes = 3'000'000}}, 3);
  world.run_until(30s);
  ASSERT_TRUE(world.finished_at(0));
  EXPECT_LE(*world.finished_at(0), 6s);  // 2.6 s at the rate that is left
}

}  // namespace
}  // namespace dh::bulk::test
