// What a person allows: exact over seconds, on every path and across a change of path.

#include "bulk/rate_limit.hh"

#include "bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr PathProperties kRelay{.datagram_bytes = 32'512, .is_relay = true, .initial_rtt = 60ms};
constexpr PathProperties kDirect{.datagram_bytes = 1400, .is_relay = false, .initial_rtt = 20ms};

StreamConfig limited_to(std::uint64_t rate, Controller controller = Controller::Bbr) {
  StreamConfig config = config_of(7);
  config.rate_limit = rate;
  config.controller = controller;
  return config;
}

/// Bytes read in each of `seconds` seconds from now on.
std::vector<double> per_second(World& world, int seconds) {
  std::vector<double> out;
  for (int i = 0; i < seconds; ++i) {
    const std::size_t before = world.received.size();
    world.run_for(1s);
    out.push_back(static_cast<double>(world.received.size() - before));
  }
  return out;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

TEST(RateLimit, AllowsTenMillisecondsAtOnceAndThenTheRate) {
  RateLimit limit(1'000'000);
  const Instant start{100s};
  Instant now = start;
  std::size_t sent = 0;
  while (limit.may_send(now)) limit.on_sent(1000, now), sent += 1000;
  EXPECT_EQ(sent, 11'000u);  // 10 ms worth and the packet that fills it
  EXPECT_EQ(limit.wake_at(), start + 1ms + kPacingQuantum);
  for (; now < start + 1s; now += 100us)
    while (limit.may_send(now)) limit.on_sent(1000, now), sent += 1000;
  EXPECT_NEAR(static_cast<double>(sent), 1'010'000, 1000);
}

TEST(RateLimit, ALateWakeUpIsMadeUpALongOneIsNot) {
  RateLimit limit(1'000'000);
  Instant now{100s};
  const auto send_all = [&] {
    std::size_t sent = 0;
    while (limit.may_send(now)) limit.on_sent(1000, now), sent += 1000;
    return sent;
  };
  send_all();
  now += 8ms;
  EXPECT_EQ(send_all(), 8000u);
  now += 800ms;
  EXPECT_EQ(send_all(), 11'000u);
}

TEST(RateLimit, NoLimitIsNone) {
  RateLimit limit(0);
  limit.on_sent(1u << 30, Instant{1s});
  EXPECT_TRUE(limit.may_send(Instant{1s}));
  EXPECT_GT(limit.packet_bytes(), kMaxDatagramBytes);
}

TEST(RateLimit, HoldsADirectPathToOneMegabyteASecond) {
  for (const Controller controller : {Controller::Bbr, Controller::Cubic}) {
    World world(1, limited_to(1'000'000, controller), 20'000'000);
    world.add_path(0, kDirect, {.delay = 10ms});
    const auto each = per_second(world, 10);
    EXPECT_NEAR(sum(each), 10e6, 0.1e6);
    for (std::size_t i = 1; i < each.size(); ++i) EXPECT_NEAR(each[i], 1e6, 0.01e6 + 1400);
  }
}

TEST(RateLimit, HoldsARelayToIt) {
  World world(2, limited_to(1'000'000), 20'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  const auto each = per_second(world, 10);
  EXPECT_NEAR(sum(each), 10e6, 0.1e6);
  for (std::size_t i = 1; i < each.size(); ++i) EXPECT_NEAR(each[i], 1e6, 0.03e6);  // in packets of 20 kB
}

TEST(RateLimit, HoldsAcrossAPromotionAndBack) {
  World world(3, limited_to(1'000'000), 30'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  std::vector<double> each = per_second(world, 4);
  world.add_path(1, kDirect, {.delay = 5ms});
  world.sender.prefer_path(1, world.now);
  for (const double bytes : per_second(world, 3)) each.push_back(bytes);
  world.sender.prefer_path(0, world.now);
  for (const double bytes : per_second(world, 3)) each.push_back(bytes);
  EXPECT_NEAR(sum(each), 10e6, 0.1e6);
  for (std::size_t i = 1; i < each.size(); ++i) EXPECT_NEAR(each[i], 1e6, 0.06e6) << i;  // what was under way
  EXPECT_LE(static_cast<double>(world.sender.counters().resent_bytes), 0.05e6);
}

TEST(RateLimit, CountsRepairsToo) {
  World world(4, limited_to(1'000'000), 20'000'000);
  world.add_path(0, kDirect, {.loss = 0.1, .delay = 10ms});
  world.run_for(10s);
  const auto& counters = world.sender.counters();
  EXPECT_GT(counters.resent_bytes, 500'000u);
  EXPECT_LE(static_cast<double>(counters.bytes_on_wire_sent), 10e6 * 1.04 + 20'000);  // headers
  EXPECT_GE(static_cast<double>(counters.stream_bytes), 8.5e6);
}

TEST(RateLimit, IsNotTakenForThePathsOwnRate) {
  World world(5, limited_to(500'000), 20'000'000);
  world.add_path(0, kDirect, {.delay = 10ms, .bytes_per_second = 50e6, .queue_packets = 200});
  world.run_for(5s);
  EXPECT_FALSE(world.sender.has_backlog());  // nobody looks for a faster path because of it
  EXPECT_EQ(world.sender.counters().packets_lost, 0u);
  const auto report = *world.sender.controller_report(0);
  EXPECT_GE(report.pacing_rate, 500'000);
}

TEST(RateLimit, ALowRateGoesInSmallPacketsThroughARelay) {
  World world(6, limited_to(20'000), 200'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.run_for(5s);
  EXPECT_NEAR(static_cast<double>(world.received.size()), 100'000, 2100);
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(RateLimit, AStreamBelowItEndsAtOnce) {
  World world(8, limited_to(1'000'000), 5000);
  world.add_path(0, kDirect, {.delay = 10ms});
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_LT(world.now - Instant(1s), Duration(100ms));
}

}  // namespace
}  // namespace dh::bulk::test
