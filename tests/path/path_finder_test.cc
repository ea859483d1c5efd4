#include "path/path_finder.hh"

#include <set>

#include <gtest/gtest.h>

#include "finder_world.hh"

namespace dh::path::test {
namespace {

TEST(PathFinder, TwoPublicHostsAreConnectedOneRoundTripAfterTheirListsMet) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  const Instant start = world.now;
  world.start();
  world.run_for(1s);
  ASSERT_TRUE(world.a.route && world.b.route);
  EXPECT_EQ(world.a.route->remote, at("6.6.6.22:40002"));
  EXPECT_EQ(world.b.route->remote, at("5.5.5.21:40001"));
  EXPECT_EQ(world.a.route->tier, Tier::Direct);
  // The dialer's list is with the listener after 40 ms; a ping and its pong take 40 more.
  EXPECT_LE(*world.b.up_at - start, Duration(85ms));
  EXPECT_LE(*world.a.up_at - start, Duration(125ms));
}

// As behind a link that passes pings and loses full datagrams.
TEST(PathFinder, ARouteThatStallsEachTimeItIsTakenWaitsLongerAndLonger) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.start();
  int stalls = 0;
  for (int i = 0; i < 200; ++i) {  // a minute
    world.run_for(300ms);
    if (!world.a.route) continue;
    ++stalls;
    world.a.finder.on_stalled(world.now);
    world.drain();
  }
  EXPECT_GE(stalls, 4);
  EXPECT_LE(stalls, 7);
  world.run_for(61s);
  EXPECT_TRUE(world.a.route) << "never given up for good";
}

TEST(PathFinder, TheSameNetworkIsPreferredToAnythingElse) {
  World world;
  world.host(world.a, "192.168.1.2", 24, 40'001);
  world.host(world.a, "2001:db8:1::2", 64, 40'003);
  world.host(world.b, "192.168.1.3", 24, 40'002);
  world.host(world.b, "2001:db8:2::3", 64, 40'004);
  world.start();
  world.run_for(2s);
  ASSERT_TRUE(world.a.route);
  EXPECT_EQ(world.a.route->tier, Tier::Lan);
  EXPECT_EQ(world.a.route->remote, at("192.168.1.3:40002"));
}

TEST(PathFinder, AStalledRouteIsLeftAtOnceAndTakenAgainWhenItAnswers) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.start();
  world.run_for(1s);
  ASSERT_TRUE(world.a.route);
  world.blocked = true;
  world.a.finder.on_stalled(world.now);
  world.drain();
  EXPECT_FALSE(world.a.route);
  world.run_for(8s);
  EXPECT_FALSE(world.a.route);
  world.blocked = false;
  const Instant healed = world.now;
  world.a.up_at.reset();
  world.run_for(5s);
  ASSERT_TRUE(world.a.route) << "direct again within 5 s of healing";
  EXPECT_LE(*world.a.up_at - healed, Duration(1500ms));
}

TEST(PathFinder, SilenceOnABusyRouteIsNoticedByPings) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.start();
  world.run_for(1s);
  world.a.finder.on_traffic(world.now);
  world.blocked = true;
  world.run_for(6s);
  EXPECT_FALSE(world.a.route);
}

TEST(PathFinder, AReflectorThatSendsEverythingBackPromotesNothing) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.blocked = true;  // the real peer is never reached
  world.on_sent = [&](World::Side& from, const Transmit& sent, const Bytes& bytes) {
    const auto socket = sent.socket;
    world.after(1ms, [&world, &from, socket, to = sent.to, bytes] {
      from.finder.on_datagram(socket, to, bytes, world.now);
      world.drain();
    });
  };
  world.start();
  world.run_for(20s);
  EXPECT_FALSE(world.a.route);
  EXPECT_FALSE(world.b.route);
  EXPECT_GT(world.a.finder.probe_counters()->forged, 0u);
  EXPECT_EQ(world.a.finder.probe_counters()->pongs_sent, 0u) << "our own ping must not be answered";
}

TEST(PathFinder, ReplayedAndAlteredProbesPromoteNothing) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  std::vector<Bytes> seen;
  world.on_sent = [&](World::Side& from, const Transmit&, const Bytes& bytes) {
    if (&from == &world.b) seen.push_back(bytes);
  };
  world.start();
  world.run_for(1s);
  const auto before = world.a.finder.probe_counters()->pings_received;
  for (Bytes bytes : seen) {
    EXPECT_TRUE(world.a.finder.on_datagram(0, at("9.9.9.9:4000"), bytes, world.now));
    bytes.back() ^= std::byte{1};
    world.a.finder.on_datagram(0, at("9.9.9.9:4000"), bytes, world.now);
  }
  world.drain();
  world.run_for(3s);
  EXPECT_EQ(world.a.finder.probe_counters()->pings_received, before);
  EXPECT_EQ(world.a.finder.probe_counters()->replayed, seen.size());
  EXPECT_EQ(world.a.route->remote, at("6.6.6.22:40002"));
}

TEST(PathFinder, AHostileListAimsAtNobodyAndStaysWithinItsBudget) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  std::map<Endpoint, int> sent_to;
  world.on_sent = [&](World::Side& from, const Transmit& sent, const Bytes&) {
    if (&from == &world.a) ++sent_to[sent.to];
  };
  world.start();
  world.relay_delay = 3600s;  // only the hostile lists arrive from here on
  const std::vector<const char*> forbidden = {
      "127.0.0.1:4000",   "0.0.0.0:4000",   "255.255.255.255:4000", "169.254.169.254:8080",
      "224.0.0.251:5353", "10.0.0.1:4000",  "192.168.0.1:1900",     "5.5.5.255:4000",
      "8.8.8.8:53",       "240.1.1.1:4000", "[::1]:4000",           "[fe80::1]:4000"};
  std::uint32_t round = 100;
  for (int i = 0; i < 1000; ++i) {
    wire::CallMeMaybe call;
    call.round = ++round;
    call.attempt = 1;
    for (const char* text : forbidden) call.candidates.push_back({wire::CandidateKind::Host, at(text)});
    for (int k = 0; k < 20; ++k)
      call.candidates.push_back({wire::CandidateKind::ServerReflexive,
                                 {IpAddress::v4(7, static_cast<std::uint8_t>(i / 250),
                                                static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(k)),
                                  4000}});
    world.a.finder.on_call(call, world.now);
    world.drain();
    world.run_for(1ms);
  }
  world.run_for(10s);
  int total = 0;
  for (const auto& [to, count] : sent_to) {
    for (const char* text : forbidden) EXPECT_NE(to, at(text));
    EXPECT_LE(count, 12) << to.to_string();
    total += count;
  }
  EXPECT_LE(total, 400) << "bounded by round budgets, however many lists come";
}

// A dialer that says every second that it tries anew, each time with other victims.
TEST(PathFinder, NewAttemptsDoNotRefillTheBudgetForProbesIntoTheBlue) {
  World world;
  world.host(world.b, "6.6.6.22", 24, 40'002);
  int sent_from_b = 0, full = 0;
  world.on_sent = [&](World::Side& from, const Transmit& sent, const Bytes&) {
    sent_from_b += &from == &world.b;
    full += &from == &world.b && sent.size > wire::kProbeSize;
  };
  world.b.finder.start(World::keys(false), world.now);
  for (std::uint8_t i = 1; i <= 100; ++i) {
    wire::CallMeMaybe call;
    call.round = call.attempt = i;
    for (std::uint8_t k = 1; k <= 30; ++k)
      call.candidates.push_back({wire::CandidateKind::ServerReflexive, {IpAddress::v4(7, 1, i, k), 4000}});
    world.b.finder.on_call(call, world.now);
    world.drain();
    world.run_for(1s);
  }
  EXPECT_GE(sent_from_b, kProbeBurst);
  EXPECT_LE(sent_from_b - full, kProbeBurst + 100 * kProbeRefill + 1);
  EXPECT_GE(full, kFullBurst);
  EXPECT_LE(full, kFullBurst + 100 * kFullRefill + 1);
}

TEST(PathFinder, WhereOnlySmallPingsPassThereIsNoRouteUntilFullOnesDo) {
  World world;
  world.mtu = kBaseDatagram - 1;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.start();
  world.run_for(10s);
  EXPECT_FALSE(world.a.up_at);
  EXPECT_FALSE(world.b.up_at);
  EXPECT_TRUE(world.a.finder.obstacle().stalls);
  world.mtu = SIZE_MAX;
  world.run_for(kMtuErrorPause + 100ms);
  ASSERT_TRUE(world.a.route);
  EXPECT_TRUE(world.b.route);
}

TEST(PathFinder, SearchesForTheSizeAlsoWhenItIsStartedBeforeItKnowsItsInterfaces) {
  World world;
  world.start();
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.run_for(5s);
  ASSERT_TRUE(world.a.route);
  ASSERT_TRUE(world.b.route);
  EXPECT_EQ(world.a.route->datagram_bytes, 1472u);
  EXPECT_EQ(world.b.route->datagram_bytes, 1472u);
}

TEST(PathFinder, TheRouteInUseSaysWhatItCarriesAndFallsToTheBaseInABlackHole) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.start();
  world.run_for(2s);
  ASSERT_TRUE(world.a.route);
  EXPECT_EQ(world.a.route->datagram_bytes, 1472u);
  world.a.finder.on_black_hole(world.now);
  world.drain();
  EXPECT_EQ(world.a.route->datagram_bytes, kBaseDatagram);
  world.run_for(1s);
  EXPECT_EQ(world.a.route->datagram_bytes, 1472u);
  world.a.finder.on_too_big(kSocketV4, world.b.sockets[kSocketV4], 1472, world.now);
  world.drain();
  EXPECT_EQ(world.a.route->datagram_bytes, kBaseDatagram);
  EXPECT_TRUE(world.a.lost.empty());
  world.a.finder.on_too_big(kSocketV4, world.b.sockets[kSocketV4], kBaseDatagram, world.now);
  world.drain();
  EXPECT_FALSE(world.a.route);
}

// And one that asks for a birthday search every time.
class SearchOnDemand : public testing::TestWithParam<bool> {};

TEST_P(SearchOnDemand, AListenerSearchesThreeTimesASessionHoweverOftenItIsAsked) {
  const bool we_are_hard = GetParam();
  World world;
  world.b.hard = we_are_hard;
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.add_stun_servers(world.b);
  world.drain();
  world.run_for(1s);
  std::map<SocketId, int> sent;
  int total = 0;
  world.on_sent = [&](World::Side&, const Transmit& transmit, const Bytes&) {
    if (transmit.to.address != *IpAddress::parse("7.7.7.7")) return;
    ++sent[transmit.socket];
    ++total;
  };
  world.b.finder.start(World::keys(false), world.now);
  for (std::uint32_t i = 1; i <= 600; ++i) {
    wire::CallMeMaybe call;
    call.round = call.attempt = i;
    call.mode = wire::PunchMode::Birthday;
    call.mapping = we_are_hard ? wire::MappingBehaviour::EndpointIndependent : wire::MappingBehaviour::Random;
    call.candidates = {{wire::CandidateKind::ServerReflexive, at("7.7.7.7:4000")}};
    world.b.finder.on_call(call, world.now);
    world.drain();
    world.run_for(i % 20 == 0 ? 10s : 1s);  // so that a search can also run to its end
  }
  std::size_t opened = 0;
  for (const OpenSockets& open : world.b.opened) opened += open.count;
  if (we_are_hard) {
    EXPECT_GE(opened, kBirthdaySockets);
    EXPECT_LE(opened, kMaxBirthdays * kBirthdaySockets);
  } else {
    EXPECT_GE(total, 200);
    EXPECT_LE(static_cast<std::size_t>(total), kMaxBirthdays * kBirthdayProbes);
  }
}
INSTANTIATE_TEST_SUITE_P(Role, SearchOnDemand, testing::Bool());

TEST(PathFinder, AnAddressThatAProbeComesFromIsTriedEvenIfNobodyListedIt) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  // b's router shows another port than any list says.
  world.b.sockets[kSocketV4].port = 45'555;
  world.start();
  world.run_for(1s);
  ASSERT_TRUE(world.a.route);
  EXPECT_EQ(world.a.route->remote, at("6.6.6.22:45555"));
}

TEST(PathFinder, WithoutAnyAnswerItRestsAndKeepsItsVolumeSmall) {
  World world;
  world.host(world.a, "5.5.5.21", 24, 40'001);
  world.host(world.b, "6.6.6.22", 24, 40'002);
  world.blocked = true;
  world.start();
  world.run_for(600s);
  EXPECT_FALSE(world.a.route);
  EXPECT_LT(world.datagrams, 1000u);
  EXPECT_LT(world.calls, 100u);
}

TEST(RouteChoice, TwoEqualPathsNeverFlap) {
  RouteChoice choice;
  std::deque<Pair> pairs(2);
  pairs[0].remote = at("6.6.6.22:4000");
  pairs[1].remote = at("6.6.6.23:4000");
  Instant now = Instant{} + 100s;
  std::uint64_t before = 0;
  for (int i = 0; i < 600; ++i, now += 1s) {
    for (Pair& pair : pairs) {
      pair.state = PairState::Valid;
      pair.mtu.on_early_probe(now);
      pair.mtu.on_answered(kBaseDatagram, now);
    }
    pairs[0].rtt = i % 2 == 0 ? 40ms : 43ms;
    pairs[1].rtt = i % 2 == 0 ? 43ms : 40ms;
    choice.choose(pairs, now);
    if (i == 0) before = choice.switches();
  }
  EXPECT_EQ(choice.switches(), before);
  pairs[1].rtt = 20ms;
  choice.choose(pairs, now);
  EXPECT_EQ(choice.current()->remote, at("6.6.6.23:4000"));
}

}  // namespace
}  // namespace dh::path::test
