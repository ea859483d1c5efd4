// What the draft says, case by case. Whole streams over simulated paths: cc_link_test.cc.

#include "bulk/bbr_fed.hh"

namespace dh::bulk::test {
namespace {

TEST(Bbr, PacesTheFirstWindowOverTheRttItWasTold) {
  Fed fed;
  EXPECT_EQ(fed.bbr.window_bytes(), 32u * kSegment);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_rate(), 2.77 * 32'000 / 0.1);
}

TEST(Bbr, LeavesStartupAfterThreeRoundsWithoutAQuarterMore) {
  Fed fed;
  fed.ack({.rate = 500e3});
  fed.ack({.rate = 1e6});
  fed.ack({.rate = 1.2e6});   // a fifth more
  fed.ack({.rate = 1.24e6});  // still below 1.25e6
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
  EXPECT_FALSE(fed.bbr.full_once());
  EXPECT_NEAR(fed.bbr.pacing_rate(), 2.77 * 1.24e6 * 0.99, 1);
  fed.ack({.rate = 1e6, .in_flight = 300'000});
  EXPECT_TRUE(fed.bbr.full_once());
  EXPECT_EQ(fed.bbr.state(), BbrState::Drain);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_gain(), 0.5);
  EXPECT_NEAR(fed.bbr.pacing_rate(), 0.5 * 1.24e6 * 0.99, 1);
}

TEST(Bbr, AQuarterMoreBeginsTheCountAgain) {
  Fed fed;
  fed.ack({.rate = 1e6});
  fed.ack({.rate = 1e6});
  fed.ack({.rate = 1e6});
  fed.ack({.rate = 1.25e6});
  fed.ack({.rate = 1.25e6});
  fed.ack({.rate = 1.25e6});
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
  fed.ack({.rate = 1.25e6, .in_flight = 300'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Drain);
}

TEST(Bbr, StaysInStartupWhileTheStreamIsTheLimit) {
  Fed fed;
  for (int i = 0; i < 40; ++i) fed.ack({.rate = 1e6, .app_limited = true});
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
}

// As the draft has it: more than 2 % lost, six gaps, one full round in recovery.
void lose_heavily(Fed& fed, double rate, int gaps = 6) {
  fed.ack({.rate = rate, .app_limited = true});
  fed.lose(gaps);
  fed.ack({.rate = rate, .app_limited = true});
  fed.lose(gaps);
  fed.ack({.rate = rate, .lost = 3000, .app_limited = true});
}

TEST(Bbr, HeavyLossEndsStartupAlthoughTheStreamIsTheLimit) {
  Fed fed(BbrConfig::draft());
  lose_heavily(fed, 1e6);
  EXPECT_TRUE(fed.bbr.full_once());
  EXPECT_NE(fed.bbr.state(), BbrState::Startup);
  EXPECT_DOUBLE_EQ(fed.bbr.inflight_bound(), 100'000);  // what was delivered in a round, and the product
}

TEST(Bbr, FiveGapsDoNotEndStartup) {
  Fed fed(BbrConfig::draft());
  lose_heavily(fed, 1e6, 5);
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
}

TEST(Bbr, AGrowingStartIsEndedByLossWhereItHasBuiltAQueue) {
  for (const Duration rtt : {129ms, 131ms}) {  // 1.25 x 100 ms + 5 ms are a queue
    Fed fed;
    fed.ack({.rate = 500e3});
    fed.lose(6);
    fed.ack({.rate = 1e6, .lost = 6'000, .rtt = rtt});
    fed.lose(6);
    fed.ack({.rate = 2e6, .lost = 6'000, .rtt = rtt});
    fed.ack({.rate = 4e6, .lost = 6'000, .rtt = rtt});
    EXPECT_EQ(fed.bbr.state() == BbrState::Startup, rtt == 129ms) << to_seconds(rtt);
  }
}

TEST(Bbr, AGrowingStartIsNotEndedByLossUnlessAQuarterIsLost) {
  Fed fed;
  lose_heavily(fed, 1e6);
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
  EXPECT_EQ(fed.bbr.counters().startups_patient, 1u);
  fed.lose(6);
  fed.ack({.rate = 2e6, .lost = 26'000});
  EXPECT_NE(fed.bbr.state(), BbrState::Startup);
}

TEST(Bbr, AStartWithoutGrowthIsEndedByLoss) {
  Fed fed;
  fed.ack({});
  fed.lose(6);
  fed.ack({});
  fed.lose(6);
  fed.ack({.lost = 3000});  // the second flat round
  EXPECT_NE(fed.bbr.state(), BbrState::Startup);
}

TEST(Bbr, LeavesDrainWhenTheQueueIsGone) {
  Fed fed;
  fed.fill_pipe();
  ASSERT_EQ(fed.bbr.state(), BbrState::Drain);
  fed.ack({.in_flight = 100'001});
  EXPECT_EQ(fed.bbr.state(), BbrState::Drain);
  fed.ack({.in_flight = 100'000});  // 1 MB/s x 100 ms
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
}

TEST(Bbr, LeavesDrainAfterThreeRoundsAnyhow) {
  Fed fed;
  fed.fill_pipe();
  for (int i = 0; i < 3; ++i) fed.ack({.rate = 0.9e6, .in_flight = 200'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Drain);
  fed.ack({.rate = 0.9e6, .in_flight = 200'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
}

TEST(Bbr, LeavesDownWhenWhatIsInFlightFits) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Down);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_gain(), 0.9);
  fed.ack({.in_flight = 101'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
  fed.ack({.in_flight = 100'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Cruise);
}

TEST(Bbr, LeavesDownForTheNextProbeWhenItsTimeHasCome) {
  Fed fed;
  fed.reach(BbrState::Down);
  EXPECT_GE(fed.bbr.probe_wait(), 2s);
  EXPECT_LT(fed.bbr.probe_wait(), 3s);
  const Instant due = fed.now + fed.bbr.probe_wait();
  const Acks full{.rate = 0.9e6, .in_flight = 150'000, .after = 20ms};
  while (fed.now + 20ms <= due) {
    fed.ack(full);
    ASSERT_EQ(fed.bbr.state(), BbrState::Down);
    if (fed.bbr.model().round() > 55) break;
  }
  while (fed.now <= due) fed.ack({.rate = 0.9e6, .in_flight = 150'000, .new_round = false, .after = 20ms});
  EXPECT_EQ(fed.bbr.state(), BbrState::Refill);  // not by way of Cruise
}

TEST(Bbr, ProbesAfterAsManyRoundsAsRenoWouldNeed) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  int rounds = 0;
  while (fed.bbr.state() == BbrState::Cruise) fed.ack({.after = 1ms}), ++rounds;
  EXPECT_EQ(fed.bbr.state(), BbrState::Refill);
  EXPECT_GE(rounds, 58);  // 62 or 63, less those in Down
  EXPECT_LE(rounds, 63);
}

TEST(Bbr, RefillsForOneRoundThenProbes) {
  Fed fed;
  fed.reach(BbrState::Refill);
  fed.ack({.new_round = false});
  EXPECT_EQ(fed.bbr.state(), BbrState::Refill);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_gain(), 1);
  fed.ack({});
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_gain(), 1.25);
  EXPECT_DOUBLE_EQ(fed.bbr.window_gain(), 2.25);
}

TEST(Bbr, LowRatesOfAnIdleStreamInRefillDoNotCount) {
  Fed fed;
  fed.reach(BbrState::Refill);
  fed.ack({.rate = 0.1e6, .app_limited = true, .new_round = false});
  EXPECT_DOUBLE_EQ(fed.bbr.model().max_bandwidth(), 1e6);
  fed.ack({.rate = 0.1e6, .app_limited = true});
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
  EXPECT_DOUBLE_EQ(fed.bbr.model().max_bandwidth(), 1e6);
}

TEST(Bbr, LeavesUpAfterThreeFlatRounds) {
  Fed fed;
  fed.reach(BbrState::Up);
  fed.ack({.in_flight = 125'000});
  fed.ack({.in_flight = 125'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
  fed.ack({.in_flight = 125'000});
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
  EXPECT_EQ(fed.bbr.inflight_bound(), kNoBound);  // nothing was lost
}

TEST(Bbr, StaysInUpWhileTheStreamIsTheLimitAndNothingIsLost) {
  Fed fed;
  fed.reach(BbrState::Up);
  for (int i = 0; i < 30; ++i) fed.ack({.rate = 0.5e6, .app_limited = true, .after = 10ms});
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
}

TEST(Bbr, LossInUpEndsTheProbeAtTheBytesWhereItCrossedTwoPercent) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(150'000, 3000));  // exactly 2 %: not yet
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(140'000, 4000));
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
  // 139 kB before it with 3 kB lost is 2.16 % already: the prefix is negative.
  const double before = 139'000, prefix = (0.02 * before - 3000) / 0.98;
  EXPECT_DOUBLE_EQ(fed.bbr.inflight_bound(), before + prefix);
  EXPECT_EQ(fed.bbr.counters().too_high, 1u);
}

TEST(Bbr, ALossBoundIsNoLowerThanSevenTenths) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(20'000, 2000));
  EXPECT_DOUBLE_EQ(fed.bbr.inflight_bound(), 0.7 * 100'000);
}

TEST(Bbr, LossInUpEndsTheProbeAlsoWhenTheStreamIsTheLimitButSetsNoBound) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(100'000, 5000, true));
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
  EXPECT_EQ(fed.bbr.inflight_bound(), kNoBound);
}

TEST(Bbr, OneProbeIsAnsweredOnce) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.lose(30, 150'000);
  EXPECT_EQ(fed.bbr.counters().too_high, 1u);
}

TEST(Bbr, AfterALossyProbeTheNextIsShortAndACleanOneIsFollowedAtOnce) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(120'000, 5000));
  const double bound = fed.bbr.inflight_bound();
  for (int i = 0; i < 10; ++i) fed.ack({});
  fed.reach(BbrState::Up);
  fed.ack({.in_flight = static_cast<std::uint64_t>(bound) + 2000, .new_round = false});
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
  fed.ack({});  // a round later nothing was lost
  EXPECT_EQ(fed.bbr.state(), BbrState::Refill);
}

TEST(Bbr, TheBoundGrowsByOneTwoFourPacketsARound) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(100'000, 5000));
  for (int i = 0; i < 10; ++i) fed.ack({});
  fed.reach(BbrState::Up);
  fed.bbr.on_spurious(fed.now - 100s, fed.now);  // of no known episode: nothing
  // Each round acks one window, and the window is what limits.
  double before = fed.bbr.inflight_bound();
  std::vector<double> steps;
  for (int i = 0; i < 4 && fed.bbr.state() == BbrState::Up; ++i) {
    const std::uint64_t window = fed.bbr.window_bytes();
    fed.ack({.bytes = window, .in_flight = 50'000, .sent_in_flight = 50'000, .window_full = true});
    steps.push_back((fed.bbr.inflight_bound() - before) / kSegment);
    before = fed.bbr.inflight_bound();
    fed.ack({.bytes = 0, .in_flight = 50'000, .window_full = true, .new_round = false, .after = 1ms});
  }
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps, (std::vector<double>{1, 2, 4, 8}));
}

TEST(Bbr, LossWhileCruisingCutsTowardsWhatArrivesAndRefillForgetsIt) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Cruise);
  const double window = static_cast<double>(fed.bbr.window_bytes());
  fed.ack({.rate = 0.8e6});
  fed.lose(10);
  fed.ack({.bytes = 90'000, .rate = 0.8e6});
  EXPECT_DOUBLE_EQ(fed.bbr.model().short_bandwidth(), 0.8e6);
  EXPECT_DOUBLE_EQ(fed.bbr.model().bandwidth(), 0.8e6);
  EXPECT_DOUBLE_EQ(fed.bbr.model().short_inflight(), std::max(100'000.0, 0.7 * window));
  EXPECT_EQ(fed.bbr.counters().cuts, 1u);
  fed.reach(BbrState::Refill);
  EXPECT_EQ(fed.bbr.model().short_bandwidth(), kNoBound);
}

TEST(Bbr, ACutLeavesSevenTenthsEvenIfNothingArrives) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Cruise);
  fed.ack({.bytes = 1000, .rate = 10e3});
  fed.lose(10);
  fed.ack({.bytes = 1000, .rate = 10e3});
  EXPECT_DOUBLE_EQ(fed.bbr.model().short_bandwidth(), 0.7e6);
}

TEST(Bbr, FalseLossesAreTakenBackAndTheProbeBeginsAgain) {
  Fed fed(BbrConfig::draft());
  fed.reach(BbrState::Up);
  const LostPacket first = fed.lost_packet(150'000, 3000), second = fed.lost_packet(140'000, 4000);
  fed.bbr.on_packet_lost(first);
  fed.bbr.on_packet_lost(second);
  ASSERT_EQ(fed.bbr.state(), BbrState::Down);
  fed.bbr.on_spurious(first.sent_at, fed.now);
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);  // one of them may still be lost
  fed.bbr.on_spurious(second.sent_at, fed.now);
  EXPECT_EQ(fed.bbr.state(), BbrState::Refill);
  EXPECT_EQ(fed.bbr.inflight_bound(), kNoBound);
  EXPECT_EQ(fed.bbr.counters().undone, 1u);
}

TEST(Bbr, AFalseEndOfStartupIsTakenBack) {
  Fed fed(BbrConfig::draft());
  lose_heavily(fed, 1e6);
  ASSERT_TRUE(fed.bbr.full_once());
  for (int i = 0; i < 6; ++i) fed.bbr.on_spurious(fed.now - 100ms, fed.now);
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
  EXPECT_FALSE(fed.bbr.full_once());
  EXPECT_EQ(fed.bbr.inflight_bound(), kNoBound);
}

TEST(Bbr, ASilentPathKeepsWhatIsInFlightAndOnePacketMore) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  fed.ack({.in_flight = 20'000});
  const std::uint64_t window = fed.bbr.window_bytes();
  fed.bbr.on_pto(fed.now);
  EXPECT_EQ(fed.bbr.window_bytes(), 21'000u);
  fed.bbr.on_pto(fed.now + 1s);
  fed.ack({.bytes = 1000, .rate = 1e4, .in_flight = 20'000, .app_limited = true});
  EXPECT_EQ(fed.bbr.window_bytes(), window);  // back with the first ack
  EXPECT_DOUBLE_EQ(fed.bbr.model().max_bandwidth(), 1e6);
}

TEST(Bbr, LooksForTheEmptyQueueEveryFiveSeconds) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  const Instant start = fed.now;
  while (fed.bbr.state() != BbrState::ProbeRtt && fed.now < start + 11s)
    fed.ack({.in_flight = 100'000, .rtt = 120ms});
  ASSERT_EQ(fed.bbr.state(), BbrState::ProbeRtt);
  EXPECT_DOUBLE_EQ(fed.bbr.window_gain(), 0.5);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_gain(), 1);
  EXPECT_EQ(fed.bbr.window_bytes(), 50'000u);
  EXPECT_TRUE(fed.bbr.holds_back());
  EXPECT_EQ(fed.bbr.phase(), SendPhase::Other);
  fed.ack({.in_flight = 50'000, .rtt = 110ms, .after = 10ms});  // now it counts
  EXPECT_EQ(fed.bbr.phase(), SendPhase::ProbeRtt);
  const Instant counted = fed.now;
  fed.ack({.in_flight = 50'000, .rtt = 100ms});
  fed.ack({.in_flight = 50'000, .rtt = 100ms, .after = counted + 200ms - fed.now});
  EXPECT_EQ(fed.bbr.state(), BbrState::ProbeRtt);
  fed.ack({.in_flight = 50'000, .rtt = 100ms, .after = 1ms});
  EXPECT_EQ(fed.bbr.state(), BbrState::Cruise);
  EXPECT_FALSE(fed.bbr.holds_back());
  EXPECT_GT(fed.bbr.window_bytes(), 100'000u);  // as before
}

TEST(Bbr, AnRttProbeBeforeThePipeWasFullReturnsToStartup) {
  Fed fed;
  for (int i = 0; i < 60 && fed.bbr.state() == BbrState::Startup; ++i)
    fed.ack({.rate = 1e6, .in_flight = 10'000, .app_limited = true, .rtt = 100ms + i * 1ms});
  ASSERT_EQ(fed.bbr.state(), BbrState::ProbeRtt);
  for (int i = 0; i < 5 && fed.bbr.state() == BbrState::ProbeRtt; ++i)
    fed.ack({.rate = 1e6, .in_flight = 10'000, .app_limited = true});
  EXPECT_EQ(fed.bbr.state(), BbrState::Startup);
}

TEST(Bbr, AfterIdlingItNeitherProbesTheRttNorBursts) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  fed.bbr.on_app_limited(0, fed.now);
  fed.now += 20s;
  fed.bbr.on_sent(kSegment, 0, fed.now);
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_rate(), 0.99e6);
  fed.ack({.bytes = 1000, .rate = 10e3, .in_flight = 0, .app_limited = true});
  EXPECT_NE(fed.bbr.state(), BbrState::ProbeRtt);
  EXPECT_DOUBLE_EQ(fed.bbr.model().max_bandwidth(), 1e6);
}

TEST(Bbr, BunchedAcksWidenTheWindowByTheirExcess) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  fed.ack({.bytes = 1000, .after = 500ms});  // what was ahead of the rate is no more
  fed.smooth(12);
  EXPECT_NEAR(fed.bbr.model().extra_acked(), 1000, 1);
  // 30 ms of silence, then 60 kB at once; and again: 120 kB where the rate explains 30.
  fed.ack({.bytes = 60'000, .after = 30ms});
  EXPECT_NEAR(fed.bbr.model().extra_acked(), 60'000, 1);
  fed.ack({.bytes = 60'000, .new_round = false, .after = 30ms});
  EXPECT_NEAR(fed.bbr.model().extra_acked(), 90'000, 1);
  fed.smooth(2);
  EXPECT_NEAR(static_cast<double>(fed.bbr.window_bytes()), 2 * 100'000 + 90'000, 1);
  fed.ack({.bytes = 1000, .after = 500ms});
  fed.smooth(10);  // forgotten after ten rounds
  EXPECT_NEAR(fed.bbr.model().extra_acked(), 1000, 1);
}

TEST(Bbr, FourPacketsAreAlwaysInTheWindow) {
  Fed fed;
  for (int i = 0; i < 8; ++i)
    fed.ack({.bytes = 1000, .rate = 5e3, .in_flight = 2000, .rtt = 10ms, .after = 200ms});  // 50 bytes
  for (int i = 0; i < 300; ++i)
    fed.ack({.bytes = 1000, .rate = 5e3, .in_flight = 2000, .rtt = 10ms, .after = 200ms});
  EXPECT_GE(fed.bbr.window_bytes(), 4000u);
  EXPECT_LE(fed.bbr.window_bytes(), 6000u);
}

TEST(Bbr, AFallenRateIsBelievedAfterTwoProbes) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  for (int probes = 0, i = 0; probes < 3 && i < 1000; ++i) {
    const BbrState before = fed.bbr.state();
    fed.ack({.bytes = 10'000, .rate = 0.1e6, .in_flight = 10'000});
    if (before == BbrState::Up && fed.bbr.state() != BbrState::Up) ++probes;
  }
  EXPECT_DOUBLE_EQ(fed.bbr.model().max_bandwidth(), 0.1e6);
}

TEST(WindowedMax, RemembersExactlyItsTicks) {
  WindowedMax<3> max;
  max.update(5, 0);
  max.update(3, 1);
  max.update(4, 2);
  EXPECT_EQ(max.max(), 5);
  EXPECT_EQ(max.max(2), 4);
  max.update(1, 3);
  EXPECT_EQ(max.max(), 4);
  EXPECT_EQ(max.current(), 1);
  max.update(0.5, 100);
  EXPECT_EQ(max.max(), 0.5);
}

}  // namespace
}  // namespace dh::bulk::test
