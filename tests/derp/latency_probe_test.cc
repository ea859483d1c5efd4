#include "derp/latency_probe.hh"

#include <gtest/gtest.h>

namespace dh::derp {
namespace {

constexpr Instant at(std::int64_t ms) {
  return Instant(std::chrono::milliseconds(ms));
}

// `count` regions 1.. with one IPv4 node 10.0.0.<region> each, and a probe over them started at 0.
struct World {
  explicit World(int count, LatencyProbeConfig config = {})
      : map(make_map(count)), probe(map, config, at(0), rng) {}

  static DerpMap make_map(int count) {
    DerpMap map;
    for (int i = 1; i <= count; ++i) {
      DerpNode node;
      node.host_name = "h.example";
      node.ipv4 = {NodeAddress::Kind::Fixed, IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(i))};
      node.ipv6.kind = NodeAddress::Kind::Off;
      map.regions[static_cast<RegionId>(i)].nodes.push_back(node);
    }
    return map;
  }
  std::vector<LatencyProbe::Transmit> drain(std::int64_t ms) {
    std::vector<LatencyProbe::Transmit> out;
    while (auto next = probe.poll_transmit(at(ms))) out.push_back(std::move(*next));
    return out;
  }
  void answer(const LatencyProbe::Transmit& request, std::int64_t ms) { answer(request, ms, request.to); }
  void answer(const LatencyProbe::Transmit& request, std::int64_t ms, const Endpoint& from) {
    const Bytes bytes =
        wire::stun::make_reply(wire::stun::classify(request.datagram).id, *Endpoint::parse("192.0.2.1:5"));
    probe.on_datagram(bytes, from, at(ms));
  }

  SeededRng rng{1};
  DerpMap map;
  LatencyProbe probe;
};

TEST(LatencyProbe, StaggersRegionsAndRepeatsUnansweredRequests) {
  World world(2);
  EXPECT_EQ(world.drain(0).size(), 1u);
  EXPECT_EQ(world.probe.next_timeout(at(0)), at(20));
  EXPECT_EQ(world.drain(19).size(), 0u);
  EXPECT_EQ(world.drain(20).size(), 1u);
  EXPECT_EQ(world.probe.next_timeout(at(20)), at(100));
  EXPECT_EQ(world.drain(100).size(), 1u);
  EXPECT_EQ(world.drain(120).size(), 1u);
  EXPECT_EQ(world.drain(220).size(), 2u);
  EXPECT_FALSE(world.probe.is_finished(at(400)));
  EXPECT_EQ(world.drain(520).size(), 0u);
  EXPECT_TRUE(world.probe.is_finished(at(520))) << "300 ms after the last try nobody answers any more";
  EXPECT_EQ(world.probe.counters().sent, 6u);
  EXPECT_TRUE(world.probe.results().empty());
}

TEST(LatencyProbe, OrdersRegionsByTheirRoundTrip) {
  World world(3);
  const auto first = world.drain(0).at(0);
  const auto second = world.drain(20).at(0);
  const auto third = world.drain(40).at(0);
  world.answer(third, 50);
  world.answer(first, 60);
  world.answer(second, 55);
  EXPECT_TRUE(world.probe.is_finished(at(60)));
  EXPECT_EQ(world.probe.results(), (std::vector<RegionLatency>{{3, 10ms, 0}, {2, 35ms, 0}, {1, 60ms, 0}}));
}

TEST(LatencyProbe, AsksAtMostEightRegionsAtATime) {
  LatencyProbeConfig config;
  config.stagger = 0ms;
  World world(20, config);
  const auto first = world.drain(0);
  EXPECT_EQ(first.size(), 8u);
  world.answer(first[0], 5);
  world.answer(first[1], 5);
  EXPECT_EQ(world.drain(5).size(), 2u);
}

TEST(LatencyProbe, StopsWhenTheSilentOnesAreFartherThanEnoughOthers) {
  LatencyProbeConfig config;
  config.stagger = 0ms;
  World world(5, config);
  const auto sent = world.drain(0);
  for (int i = 0; i < 3; ++i) world.answer(sent.at(static_cast<std::size_t>(i)), 40);
  EXPECT_FALSE(world.probe.is_finished(at(79)));
  EXPECT_EQ(world.probe.next_timeout(at(40)), at(80));
  EXPECT_TRUE(world.probe.is_finished(at(80)));
}

TEST(LatencyProbe, EndsWithItsBudgetWhateverHappens) {
  LatencyProbeConfig config;
  config.budget = 200ms;
  World world(200, config);
  for (std::int64_t ms = 0; ms < 200; ms += 10) world.drain(ms);
  EXPECT_FALSE(world.probe.is_finished(at(199)));
  EXPECT_TRUE(world.probe.is_finished(at(200)));
  EXPECT_FALSE(world.probe.next_timeout(at(200)));
}

TEST(LatencyProbe, CountsAnswersFromElsewhereAsForeign) {
  World world(1);
  const auto request = world.drain(0).at(0);
  world.answer(request, 10, *Endpoint::parse("10.9.9.9:3478"));
  world.probe.on_datagram(as_bytes("x"), request.to, at(10));
  EXPECT_TRUE(world.probe.results().empty());
  EXPECT_EQ(world.probe.counters().foreign, 2u);
  world.answer(request, 11);
  world.answer(request, 12);
  EXPECT_EQ(world.probe.results(), (std::vector<RegionLatency>{{1, 11ms, 0}}));
  EXPECT_EQ(world.probe.counters().foreign, 3u) << "an answer counts once";
}

TEST(LatencyProbe, AsksDnsWhereTheMapHasNoAddress) {
  DerpMap map = World::make_map(1);
  map.regions[1].nodes[0].ipv4 = {};
  SeededRng rng(1);
  LatencyProbe probe(map, {}, at(0), rng);
  EXPECT_FALSE(probe.poll_transmit(at(0)));
  const auto wanted = probe.poll_resolve();
  ASSERT_TRUE(wanted.has_value());
  EXPECT_EQ(wanted->host, "h.example");
  EXPECT_FALSE(probe.poll_resolve());
  probe.on_resolved(1, 0, {*IpAddress::parse("2001:db8::1"), *IpAddress::parse("192.0.2.9")});
  const auto sent = probe.poll_transmit(at(5));
  ASSERT_TRUE(sent.has_value());
  EXPECT_EQ(sent->to.to_string(), "192.0.2.9:3478") << "IPv6 is off for this node";
}

TEST(LatencyProbe, SendsTestsWhereTheMapSays) {
  DerpMap map = World::make_map(1);
  map.regions[1].nodes[0].stun_test_ip = *IpAddress::parse("127.0.0.1");
  map.regions[1].nodes[0].stun_port = 99;
  SeededRng rng(1);
  LatencyProbe probe(map, {}, at(0), rng);
  EXPECT_EQ(probe.poll_transmit(at(0))->to.to_string(), "127.0.0.1:99");
}

}  // namespace
}  // namespace dh::derp
