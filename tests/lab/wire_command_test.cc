#include "lab/wire_command.hh"

#include <gtest/gtest.h>

namespace dh::lab {
namespace {

TEST(WireCommand, SetsOneDirectionOrBoth) {
  WireSettings wire;
  EXPECT_EQ(apply_command("set ab loss 0.05", wire), WireReply::Done);
  EXPECT_EQ(wire.ab.loss, 0.05);
  EXPECT_EQ(wire.ba.loss, 0);
  EXPECT_EQ(apply_command("set both delay 20ms", wire), WireReply::Done);
  EXPECT_EQ(wire.ab.delay, 20ms);
  EXPECT_EQ(wire.ba.delay, 20ms);
}

TEST(WireCommand, KnowsEverySetting) {
  WireSettings wire;
  for (const auto* line : {"set ab delay 100us", "set ab jitter 1s", "set ab loss 5%", "set ab burst 0.01 20",
                           "set ab reorder 0.1 15ms", "set ab duplicate 1", "set ab corrupt 0.5%",
                           "set ab rate 20mbit", "set ab queue 64kB", "set ab mtu 1280", " cut\tab \r"})
    EXPECT_EQ(apply_command(line, wire), WireReply::Done) << line;
  EXPECT_EQ(wire.ab, (LinkSettings{.delay = 100us,
                                   .jitter = 1s,
                                   .loss = 0.05,
                                   .burst_loss = 0.01,
                                   .burst_packets = 20,
                                   .reorder = 0.1,
                                   .reorder_by = 15ms,
                                   .duplicate = 1,
                                   .corrupt = 0.005,
                                   .rate_bits = 20e6,
                                   .queue_bytes = 64'000,
                                   .mtu_hole = 1280,
                                   .cut = true}));
  EXPECT_EQ(wire.ba, LinkSettings{});
}

TEST(WireCommand, HealingUndoesOnlyTheCut) {
  WireSettings wire;
  ASSERT_TRUE(apply_command("set ba delay 20ms", wire));
  ASSERT_TRUE(apply_command("cut both", wire));
  EXPECT_TRUE(wire.ab.cut && wire.ba.cut);
  ASSERT_TRUE(apply_command("heal", wire));
  EXPECT_FALSE(wire.ab.cut || wire.ba.cut);
  EXPECT_EQ(wire.ba.delay, 20ms);
  ASSERT_TRUE(apply_command("clear ba", wire));
  EXPECT_EQ(wire.ba, LinkSettings{});
}

TEST(WireCommand, ZeroNeedsNoUnitAndSwitchesOff) {
  WireSettings wire;
  for (const auto* line : {"set ab delay 20ms", "set ab rate 1gbit", "set ab delay 0", "set ab rate 0"})
    ASSERT_TRUE(apply_command(line, wire)) << line;
  EXPECT_EQ(wire.ab, LinkSettings{});
}

TEST(WireCommand, RefusesWhatItDoesNotKnowAndChangesNothing) {
  WireSettings wire;
  ASSERT_TRUE(apply_command("set both loss 0.5", wire));
  const WireSettings before = wire;
  for (const auto* line : {"",
                           "  ",
                           "set",
                           "set ab",
                           "set ab loss",
                           "set ab loss 0.1 0.2",
                           "set ab loss 1.1",
                           "set ab loss -0.1",
                           "set ab loss nan",
                           "set ab loss inf",
                           "set ab loss 5",
                           "set ac loss 0.1",
                           "set ab los 0.1",
                           "set ab delay 20",
                           "set ab delay 20 ms",
                           "set ab delay 61s",
                           "set ab rate 20",
                           "set ab rate 1e999gbit",
                           "set ab burst 0.1 0.5",
                           "set ab burst 0.1 2 3",
                           "set ab reorder 0.1 10",
                           "set ab mtu 9999MB",
                           "cut",
                           "cut ab now",
                           "heal ab ba",
                           "stats ab",
                           "drop everything"}) {
    const auto reply = apply_command(line, wire);
    ASSERT_FALSE(reply) << line;
    EXPECT_FALSE(reply.error().empty()) << line;
    EXPECT_EQ(wire.ab, before.ab) << line;
    EXPECT_EQ(wire.ba, before.ba) << line;
  }
}

TEST(WireCommand, PrintsEveryCounter) {
  WireSettings unused;
  EXPECT_EQ(apply_command("stats", unused), WireReply::Stats);
  EXPECT_EQ(
      to_json({.offered = 1,
               .offered_bytes = 2,
               .delivered = 3,
               .delivered_bytes = 4,
               .lost = 5,
               .burst_lost = 6,
               .cut = 7,
               .too_big = 8,
               .queue_dropped = 9,
               .overflowed = 10,
               .reordered = 11,
               .duplicated = 12,
               .corrupted = 13},
              14),
      R"({"offered":1,"offered_bytes":2,"delivered":3,"delivered_bytes":4,"lost":5,"burst_lost":6,"cut":7,)"
      R"("too_big":8,"queue_dropped":9,"overflowed":10,"reordered":11,"duplicated":12,"corrupted":13,"waiting":14})");
}

}  // namespace
}  // namespace dh::lab
