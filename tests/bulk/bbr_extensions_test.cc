// What we do beyond the draft, each part alone.

#include <cmath>

#include "bulk/bbr_fed.hh"

namespace dh::bulk::test {
namespace {

constexpr PhaseCounts counts(std::uint32_t down, std::uint32_t cruise, std::uint32_t probe_rtt) {
  return {0, down, cruise, probe_rtt};
}
void count(LossFloor& floor, PhaseCounts acked, SendPhase phase, int lost, double round_loss = 0) {
  floor.on_acked(acked);
  for (int i = 0; i < lost; ++i) floor.on_lost(phase);
  floor.end_round(round_loss);
}

TEST(BbrConfig, PartsCanBeSwitchedOffByName) {
  BbrConfig but_two;
  but_two.loss_floor = but_two.believe_collapse = false;
  EXPECT_EQ(BbrConfig::without("E1,E9"), but_two);
  EXPECT_EQ(BbrConfig::without("E1,E2,E3,E4,E5,E6,E7,E8,E9"), BbrConfig::draft());
  EXPECT_EQ(BbrConfig::without("all"), BbrConfig::draft());
  for (const char* wrong : {"", "E0", "e1", "E10", "E1,", ",E1", "E1 E2", "loss_floor", "E1,all"})
    EXPECT_EQ(BbrConfig::without(wrong), std::nullopt) << wrong;
}

TEST(LossFloor, IsTheShareLostWhileCruising) {
  LossFloor floor;
  count(floor, counts(0, 97, 0), SendPhase::Cruise, 2);
  floor.update();
  EXPECT_EQ(floor.ratio(), 0);  // 99 packets say nothing
  count(floor, counts(0, 1, 0), SendPhase::Cruise, 0);
  floor.update();
  EXPECT_DOUBLE_EQ(floor.ratio(), 0.02);
}

TEST(LossFloor, DrainingAuditsIt) {
  LossFloor floor;
  count(floor, counts(900, 900, 0), SendPhase::Cruise, 100);
  floor.update();
  EXPECT_DOUBLE_EQ(floor.ratio(), std::sqrt(0.002 / 900));  // nothing lost while draining: a rate limiter
  count(floor, {}, SendPhase::Down, 100);
  floor.update();
  EXPECT_DOUBLE_EQ(floor.ratio(), LossFloor::kCap);  // a tenth everywhere, and no more than the cap
}

TEST(LossFloor, TheHalfEmptyWindowAuditsItToo) {
  LossFloor floor;
  count(floor, counts(980, 980, 40), SendPhase::Cruise, 20);
  count(floor, {}, SendPhase::Down, 20);
  floor.update();
  EXPECT_DOUBLE_EQ(floor.ratio(), std::sqrt(0.002 / 40));  // 0.7 %: nothing lost of forty
}

// Losses in runs of four: that none of fifty packets of the half-empty window was lost may well be chance.
TEST(LossFloor, TheAuditAllowsForLossesThatComeInRuns) {
  const auto floor_of = [](bool in_runs, std::uint32_t probe_rtt_packets) {
    LossFloor floor;
    floor.on_acked(counts(0, 1900, 0));
    for (int i = 0; i < 100; ++i) floor.on_lost(SendPhase::Cruise, in_runs && i % 4 != 0);
    floor.end_round(0);
    count(floor, counts(0, 0, probe_rtt_packets), SendPhase::Other, 0);
    floor.update();
    return std::pair(floor.ratio(), floor.variance_factor());
  };
  EXPECT_DOUBLE_EQ(floor_of(false, 50).first, std::sqrt(0.002 / 50));
  EXPECT_DOUBLE_EQ(floor_of(false, 50).second, 1);
  EXPECT_DOUBLE_EQ(floor_of(true, 50).first, 0.05);
  EXPECT_NEAR(floor_of(true, 50).second, 6.4, 0.1);  // 2 x 4 - 1, less what is assumed at first
  EXPECT_LT(floor_of(true, 2000).first, 0.014);      // nothing lost of so many is no chance
}

TEST(LossFloor, ARoundOfAbsurdLossDoesNotCount) {
  LossFloor floor;
  count(floor, counts(0, 990, 0), SendPhase::Cruise, 10);
  count(floor, counts(0, 500, 0), SendPhase::Cruise, 500, 0.5);
  floor.update();
  EXPECT_DOUBLE_EQ(floor.ratio(), 0.01);
}

TEST(LossFloor, FalseLossesAreTakenBackBeforeAndAfterTheirRound) {
  LossFloor floor;
  count(floor, counts(0, 1000, 0), SendPhase::Cruise, 10);
  for (int i = 0; i < 5; ++i) floor.on_lost(SendPhase::Cruise);
  floor.on_spurious(counts(0, 15, 0));
  floor.end_round(0);
  floor.update();
  EXPECT_EQ(floor.ratio(), 0);
}

TEST(LossFloor, OldCountsFade) {
  LossFloor floor;
  count(floor, counts(0, 900, 0), SendPhase::Cruise, 100);
  for (int i = 0; i < 5; ++i) floor.fade();  // 0.6^5: 78 packets are left
  floor.update();
  EXPECT_EQ(floor.ratio(), 0);
}

/// Cruises with this share of packets lost until the floor has been read.
void learn_floor(Fed& fed, int lost_of_thousand) {
  fed.reach(BbrState::Cruise);
  for (int i = 0; i < 10; ++i) {
    for (int n = 0; n < lost_of_thousand / 10; ++n) fed.bbr.on_packet_lost(fed.lost_packet(100'000, 1000));
    fed.ack({.by_phase = counts(0, static_cast<std::uint32_t>(100 - lost_of_thousand / 10), 0)});
  }
}

TEST(BbrExtensions, TheFloorIsLearntWithoutAQueueOnly) {
  Fed fed;
  learn_floor(fed, 40);
  EXPECT_NEAR(fed.bbr.loss_floor(), 0.04, 0.002);
  Fed queued;
  queued.reach(BbrState::Cruise);
  const auto before = queued.bbr.counters().floor_updates;
  for (int i = 0; i < 5; ++i) queued.ack({.rtt = 112ms});  // more than 1.1 x 100 ms + 1 ms
  EXPECT_LE(queued.bbr.counters().floor_updates, before + 1);
}

TEST(BbrExtensions, AFloorRaisesTheThresholdOfProbes) {
  Fed fed;
  learn_floor(fed, 40);
  fed.reach(BbrState::Up);
  const double floor = fed.bbr.loss_floor();
  ASSERT_GT(floor, 0.03);
  const auto below = static_cast<std::uint64_t>(100'000 * (0.02 + 1.5 * floor)) - 500;
  fed.bbr.on_packet_lost(fed.lost_packet(100'000, below));
  EXPECT_EQ(fed.bbr.state(), BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(100'000, below + 1000));
  EXPECT_EQ(fed.bbr.state(), BbrState::Down);
}

TEST(BbrExtensions, ARoundThatLosesNoMoreThanTheFloorExplainsCutsNothing) {
  Fed fed;
  learn_floor(fed, 40);
  EXPECT_GT(fed.bbr.counters().tolerated, 0u);
  const auto cuts = fed.bbr.counters().cuts;
  fed.lose(4);
  fed.ack({.bytes = 96'000, .by_phase = counts(0, 96, 0)});
  EXPECT_EQ(fed.bbr.counters().cuts, cuts);
  fed.lose(9);  // 6.5 % and twice what chance does to a hundred packets: 10.5 %
  fed.ack({.bytes = 91'000, .by_phase = counts(0, 200, 0)});
  EXPECT_EQ(fed.bbr.counters().cuts, cuts);
  fed.lose(14);
  fed.ack({.bytes = 86'000});
  EXPECT_EQ(fed.bbr.counters().cuts, cuts + 1);
}

TEST(BbrExtensions, TwoRoundsOfAbsurdLossEndTheBeliefInTheOldBandwidth) {
  const auto bandwidth_after = [](BbrConfig extensions, int rounds) {
    Fed fed(extensions);
    fed.reach(BbrState::Cruise);
    fed.ack({.bytes = 20'000, .rate = 100e3, .in_flight = 60'000});
    for (int i = 0; i < rounds; ++i) {
      fed.lose(10);
      fed.ack({.bytes = 20'000, .rate = 100e3, .in_flight = 60'000});
    }
    return fed.bbr.model().max_bandwidth();
  };
  EXPECT_NEAR(bandwidth_after({}, 1), 1e6, 1);
  EXPECT_NEAR(bandwidth_after({}, 2), 100e3, 1);
  EXPECT_NEAR(bandwidth_after(BbrConfig::draft(), 4), 1e6, 1);
}

TEST(BbrExtensions, WhatASilenceHasCostIsNoCollapse) {
  Fed fed;
  fed.reach(BbrState::Cruise);
  fed.bbr.on_pto(fed.now);
  for (int i = 0; i < 2; ++i) {
    fed.ack({.bytes = 20'000, .rate = 100e3, .in_flight = 60'000});
    fed.lose(50);
  }
  fed.ack({.bytes = 20'000, .rate = 100e3, .in_flight = 60'000});
  EXPECT_NEAR(fed.bbr.model().max_bandwidth(), 1e6, 1);
}

TEST(BbrExtensions, TheRateIsRaisedByWhatThePathLoses) {
  Fed fed;
  learn_floor(fed, 40);
  ASSERT_EQ(fed.bbr.state(), BbrState::Cruise);
  const double bandwidth = fed.bbr.model().bandwidth();
  EXPECT_DOUBLE_EQ(fed.bbr.pacing_rate(), bandwidth * 0.99 / (1 - fed.bbr.loss_floor()));
}

TEST(BbrExtensions, ABoundTheFloorExplainsIsForgotten) {
  Fed fed;
  fed.reach(BbrState::Up);
  fed.bbr.on_packet_lost(fed.lost_packet(100'000, 3000));  // 3 %: too much, as far as is known
  ASSERT_NE(fed.bbr.inflight_bound(), kNoBound);
  learn_floor(fed, 30);
  EXPECT_EQ(fed.bbr.inflight_bound(), kNoBound);
  EXPECT_EQ(fed.bbr.counters().bounds_released, 1u);
}

TEST(BbrExtensions, HeadroomLeavesTheProductOfBandwidthAndDelay) {
  const auto headroom = [](BbrConfig config) {
    Fed fed(config);
    fed.reach(BbrState::Up);
    fed.bbr.on_packet_lost(fed.lost_packet(105'000, 5000));
    EXPECT_LT(fed.bbr.inflight_bound(), 105'000);
    EXPECT_GT(fed.bbr.inflight_bound(), 101'000);
    return fed.bbr.inflight_with_headroom() / fed.bbr.inflight_bound();
  };
  EXPECT_DOUBLE_EQ(headroom(BbrConfig::draft()), 0.85);
  BbrConfig only = BbrConfig::draft();
  only.shallow_headroom = true;
  EXPECT_GT(headroom(only), 0.98);
}

TEST(BbrExtensions, SwitchedOffLeaveTheDraft) {
  Fed fed(BbrConfig::draft());
  learn_floor(fed, 40);
  EXPECT_EQ(fed.bbr.loss_floor(), 0);
  EXPECT_EQ(fed.bbr.counters().tolerated, 0u);
  EXPECT_GT(fed.bbr.counters().cuts, 5u);
}

}  // namespace
}  // namespace dh::bulk::test
