#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "sim/scenario.hh"

namespace dh::sim {
namespace {

std::uint64_t seed_count(std::uint64_t usual) {
  const char* text = std::getenv("DERPHOLE_SIM_SEEDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

// The one test that matters most: whatever relays and networks do, every byte arrives once, or nothing hangs.
TEST(SessionInTheSimulator, SurvivesLossReorderingForgeryAndRestartsForEverySeed) {
  const std::uint64_t count = seed_count(1000);
  const char* first = std::getenv("DERPHOLE_SIM_FIRST_SEED");
  std::uint64_t seed = first == nullptr ? 1 : std::strtoull(first, nullptr, 10);
  int failures = 0;
  for (const std::uint64_t end = seed + count; seed < end && failures < 5; ++seed) {
    const Scenario scenario = random_scenario(seed);
    const std::string problem = run(scenario).problem(scenario);
    if (!problem.empty()) ++failures;
    EXPECT_EQ(problem, "") << describe(scenario);
  }
}

TEST(SessionInTheSimulator, TheSameSeedGivesTheSameRun) {
  const Scenario scenario = random_scenario(42);
  EXPECT_EQ(run(scenario).steps, run(scenario).steps);
}

TEST(SessionInTheSimulator, FirstByteArrivesAfterOneAndAHalfRelayRoundTrips) {
  Scenario scenario;
  scenario.bytes = 1024;
  scenario.link.delay = 10ms;  // host to relay; so a relay round trip between the hosts is 40 ms
  const Outcome outcome = run(scenario);
  EXPECT_EQ(outcome.problem(scenario), "");
  EXPECT_LE(to_seconds(outcome.first_byte_after_relay_up), 1.55 * 0.040);
}

TEST(SessionInTheSimulator, MovesAFileOverACleanRelayWithoutResending) {
  Scenario scenario;
  scenario.bytes = 4 << 20;
  const Outcome outcome = run(scenario);
  EXPECT_EQ(outcome.problem(scenario), "");
  EXPECT_EQ(outcome.dialer_counters.stream.packets_lost, 0u);
  EXPECT_EQ(outcome.listener_counters.stream.forged, 0u);
}

TEST(SessionInTheSimulator, ADeadRelayIsReplacedByTheSecondOneWithinThreeSeconds) {
  Scenario scenario;
  scenario.bytes = 8 << 20;
  scenario.relay_count = 2;
  scenario.link.bytes_per_second = 2e6;  // so that the kill comes in the middle
  scenario.relay_kills = {1500ms};
  scenario.relay_down_for = Duration::zero();
  Scenario undisturbed = scenario;
  undisturbed.relay_kills.clear();
  const Outcome outcome = run(scenario);
  EXPECT_EQ(outcome.problem(scenario), "");
  EXPECT_LE(to_seconds(outcome.finished_after - run(undisturbed).finished_after), 3.0);
}

TEST(SessionInTheSimulator, CancellingOneSideEndsTheOtherWithinTwoSeconds) {
  for (const bool listener_cancels : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      Scenario scenario;
      scenario.seed = seed;
      scenario.bytes = 64 << 20;
      scenario.faults.drop = 0.05;
      scenario.cancel_at = 1000ms + Duration(std::chrono::milliseconds(seed * 29));
      scenario.listener_cancels = listener_cancels;
      const Outcome outcome = run(scenario);
      ASSERT_FALSE(outcome.hung) << seed;
      const auto& other = listener_cancels ? outcome.dialer : outcome.listener;
      const auto& self = listener_cancels ? outcome.listener : outcome.dialer;
      ASSERT_EQ(other->end, session::SessionEnd::Aborted) << seed;
      EXPECT_TRUE(other->abort->by_peer);
      EXPECT_EQ(other->abort->code, bulk::AbortCode::Cancelled);
      EXPECT_FALSE(self->abort->by_peer);
      EXPECT_LE(outcome.finished_after, *scenario.cancel_at + 2s) << seed;
    }
  }
}

TEST(SessionInTheSimulator, RelaysNeverSeePlainText) {
  Scenario scenario;
  scenario.bytes = 100'000;
  const Outcome outcome = run(scenario, {.keep_seen = true});
  EXPECT_EQ(outcome.problem(scenario), "");
  ASSERT_GT(outcome.seen_by_relays.size(), scenario.bytes);
  const Content content(scenario.seed, scenario.bytes);
  Bytes plain(16);
  for (std::uint64_t at = 0; at + plain.size() <= scenario.bytes; at += 997) {
    content.fill(at, plain);
    EXPECT_EQ(outcome.seen_by_relays.find(as_text(plain)), std::string::npos);
  }
}

TEST(SessionInTheSimulator, ASlowReaderSlowsTheSender) {
  Scenario scenario;
  scenario.bytes = 40 << 20;
  scenario.read_bytes_per_second = 10e6;
  const Outcome outcome = run(scenario);
  EXPECT_EQ(outcome.problem(scenario), "");
  EXPECT_GE(to_seconds(outcome.finished_after), 4.0);
}

TEST(SessionInTheSimulator, AClaimThatIsLostForLongerThanAMinuteStillOpensTheSession) {
  for (const Duration silence : {Duration(70s), Duration(10min)}) {
    for (const std::uint64_t bytes :
         {0u, 1000u, 12u << 20}) {  // the last fills the receive window with early data
      Scenario scenario;
      scenario.bytes = bytes;
      scenario.listener_deaf_for = silence;
      scenario.limit = silence + 2min;  // so long the dialer waits, too
      const Outcome outcome = run(scenario);
      EXPECT_EQ(outcome.problem(scenario), "") << bytes;
      EXPECT_GE(outcome.finished_after, silence);
      EXPECT_LE(outcome.finished_after, silence + 15s) << bytes;
    }
  }
}

TEST(SessionInTheSimulator, HostsFrozenForTenMinutesGoOnAfterwards) {
  Scenario scenario;
  scenario.bytes = 16 << 20;
  scenario.host_freezes = {500ms, 700ms};
  scenario.freeze_for = 10min;
  scenario.limit = 20min;
  const Outcome outcome = run(scenario);
  EXPECT_EQ(outcome.problem(scenario), "");
  EXPECT_LE(outcome.finished_after, 10min + 15s);
}

}  // namespace
}  // namespace dh::sim
