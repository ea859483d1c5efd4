#include "path/netcheck.hh"

#include <gtest/gtest.h>

#include "path/netcheck_world.hh"

namespace dh::path {
namespace {

using test::at;
using test::NetcheckWorld;
using test::ScriptedNat;
using M = NatMapping;
using F = NatFiltering;
using P = NatPorts;

// One relay with two addresses, as `derphole relay --stun A:3478,B:3479` makes it.
NetcheckReport check_with_own_relay(NetcheckWorld& world, Duration* took = nullptr) {
  Netcheck check(world.config(), world.now, world.rng);
  check.add_server(0, world.server_a, world.now);
  check.no_more_servers();
  const Duration time = world.run(check);
  if (took != nullptr) *took = time;
  return check.report();
}

struct NamedNat {
  std::string_view name;
  ScriptedNat nat;
  NatBehaviour expected;
};

TEST(Netcheck, NamesEveryKindOfNatFromOneRelayWithTwoAddresses) {
  const std::vector<NamedNat> nats = {
      {"none, no firewall",
       {.present = false, .filtering = F::EndpointIndependent},
       {false, M::EndpointIndependent, F::EndpointIndependent, P::Preserved, 0, {}}},
      {"none, but a firewall",
       {.present = false},
       {false, M::EndpointIndependent, F::AddressAndPortDependent, P::Preserved, 0, {}}},
      {"full cone",
       {.filtering = F::EndpointIndependent, .hairpin = true},
       {true, M::EndpointIndependent, F::EndpointIndependent, P::Preserved, 0, true}},
      {"address-restricted",
       {.filtering = F::AddressDependent},
       {true, M::EndpointIndependent, F::AddressDependent, P::Preserved, 0, false}},
      {"port-restricted",
       {},
       {true, M::EndpointIndependent, F::AddressAndPortDependent, P::Preserved, 0, false}},
      {"port-restricted",
       {.ports = P::Random},
       {true, M::EndpointIndependent, F::AddressAndPortDependent, P::Stable, 0, false}},
      {"address-dependent, random ports",
       {.mapping = M::AddressDependent, .ports = P::Random},
       {true, M::AddressDependent, F::AddressAndPortDependent, P::Random, 0, false}},
      {"symmetric, sequential ports",
       {.mapping = M::AddressAndPortDependent, .ports = P::Sequential},
       {true, M::AddressAndPortDependent, F::AddressAndPortDependent, P::Sequential, 1, false}},
      {"symmetric, random ports",
       {.mapping = M::AddressAndPortDependent, .ports = P::Random},
       {true, M::AddressAndPortDependent, F::AddressAndPortDependent, P::Random, 0, false}},
      {"symmetric, random ports",
       {.mapping = M::AddressAndPortDependent, .filtering = F::EndpointIndependent, .ports = P::Random},
       {true, M::AddressAndPortDependent, F::EndpointIndependent, P::Random, 0, false}},
  };
  for (const NamedNat& entry : nats) {
    SCOPED_TRACE(entry.name);
    NetcheckWorld world(entry.nat);
    Duration took{};
    const NetcheckReport report = check_with_own_relay(world, &took);
    EXPECT_EQ(report.v4.udp, UdpState::Works);
    EXPECT_EQ(report.v4.nat, entry.expected);
    EXPECT_EQ(nat_name(report.v4), entry.name);
    EXPECT_EQ(report.v4.other_ports, true);
    EXPECT_EQ(report.relays.at(0).v4, world.kRoundTrip);
    EXPECT_LT(took, 1s);
  }
}

TEST(Netcheck, HairpinThroughAStrictFilterIsSeenBecauseBothSidesSend) {
  NetcheckWorld world({.hairpin = true});
  EXPECT_EQ(check_with_own_relay(world).v4.nat.hairpin, true);
}

TEST(Netcheck, OneServerWithoutOtherAddressProvesNothingAboutTheMapping) {
  NetcheckWorld world({});
  world.serves_behaviour = false;
  const NetcheckReport report = check_with_own_relay(world);
  EXPECT_EQ(report.v4.udp, UdpState::Works);
  EXPECT_EQ(report.v4.nat.mapping, M::Unknown);
  EXPECT_EQ(report.v4.nat.filtering, F::Unknown);
  EXPECT_FALSE(report.v4.other_ports.has_value());
}

TEST(Netcheck, TwoPlainServersTellTheMappingButNotTheFilter) {
  for (const bool varies : {false, true}) {
    ScriptedNat nat;
    if (varies) nat = {.mapping = M::AddressAndPortDependent, .ports = P::Random};
    NetcheckWorld world(nat);
    world.serves_behaviour = false;
    Netcheck check(world.config(2), world.now, world.rng);
    check.add_server(0, world.server_a, world.now);
    check.add_server(1, at("5.5.5.11:3478"), world.now);
    check.no_more_servers();
    world.run(check);
    EXPECT_EQ(check.report().v4.nat.mapping, varies ? M::Dependent : M::EndpointIndependent);
    EXPECT_EQ(check.report().v4.nat.filtering, F::Unknown);
  }
}

TEST(Netcheck, LostPacketsChangeNothing) {
  for (const std::uint64_t lost : {0u, 1u}) {
    NetcheckWorld world({.filtering = F::EndpointIndependent});
    world.lose = [&](std::uint64_t number) { return number % 2 == lost; };
    const NetcheckReport report = check_with_own_relay(world);
    EXPECT_EQ(report.v4.nat.mapping, M::EndpointIndependent);
    EXPECT_EQ(report.v4.nat.filtering, F::EndpointIndependent);
  }
}

// 20 % lost each way. What was not seen may be unknown, but is never made up.
TEST(Netcheck, HeavyRandomLossMayHideTheFilterButNeverInventsOne) {
  constexpr std::uint64_t kSeeds = 500;
  std::size_t named = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    NetcheckWorld world({});
    SeededRng loss(seed);
    world.lose = [&](std::uint64_t) { return loss.below(100) < 36; };
    const NetcheckReport report = check_with_own_relay(world);
    if (report.v4.udp == UdpState::Silent) continue;  // 0.36 ^ 5
    ASSERT_EQ(report.v4.udp, UdpState::Works);
    ASSERT_TRUE(report.v4.nat.mapping == M::EndpointIndependent || report.v4.nat.mapping == M::Unknown);
    ASSERT_TRUE(report.v4.nat.filtering == F::AddressAndPortDependent ||
                report.v4.nat.filtering == F::Unknown);
    named += report.v4.nat.filtering != F::Unknown ? 1 : 0;
  }
  EXPECT_GE(named, kSeeds * 95 / 100);
}

TEST(Netcheck, BlockedUdpIsSilenceAfterFiveTriesPerServer) {
  NetcheckWorld world({.udp = false});
  Duration took{};
  const NetcheckReport report = check_with_own_relay(world, &took);
  EXPECT_EQ(report.v4.udp, UdpState::Silent);
  EXPECT_EQ(report.v4.servers_asked, 1u);
  EXPECT_EQ(world.sent_to[world.server_a], 5u);
  EXPECT_EQ(took, 1700ms);
  EXPECT_EQ(nat_name(report.v4), "unknown");
}

TEST(Netcheck, AFirewallThatOpensTheStunPortAloneIsNoticed) {
  NetcheckWorld world({.only_ports = {53, 3478}});
  const NetcheckReport report = check_with_own_relay(world);
  EXPECT_EQ(report.v4.udp, UdpState::Works);
  EXPECT_EQ(report.v4.other_ports, false);
  EXPECT_EQ(report.v4.nat.filtering, F::Unknown);  // silence proves nothing: that end is out of reach
}

TEST(Netcheck, ADeadSecondAddressIsNotMistakenForAFilter) {
  NetcheckWorld world({.filtering = F::EndpointIndependent});
  world.dead = {at("5.5.5.11:3478"), at("5.5.5.11:3479")};
  const NetcheckReport report = check_with_own_relay(world);
  EXPECT_EQ(report.v4.nat.filtering, F::Unknown);
  EXPECT_EQ(report.v4.nat.mapping, M::Unknown);  // everything came from one address
  EXPECT_EQ(report.v4.other_ports, true);
}

TEST(Netcheck, IsOverInThreeSecondsWhateverHappens) {
  NetcheckWorld world({.udp = false});
  Netcheck check(world.config(), world.now, world.rng);
  check.add_server(0, world.server_a, world.now);  // and DNS never ends
  EXPECT_EQ(world.run(check), 3s);
  EXPECT_FALSE(check.poll_transmit(world.now));
}

TEST(Netcheck, NoRouteIsNotTheSameAsBlocked) {
  NetcheckWorld world({});
  NetcheckConfig config = world.config();
  config.v6 = {.usable = true, .main_port = 1, .second_port = 2};
  Netcheck check(config, world.now, world.rng);
  const Endpoint server = at("[2001:db8::1]:3478");
  check.add_server(0, server, world.now);
  check.no_more_servers();
  ASSERT_TRUE(check.poll_transmit(world.now));
  check.on_unreachable(server);
  EXPECT_TRUE(check.is_finished(world.now));
  EXPECT_EQ(check.report().v6.udp, UdpState::Unavailable);
  EXPECT_EQ(check.report().v4.udp, UdpState::NotAsked);
}

TEST(Netcheck, AnswersFromElsewhereOrToNobodyAreOnlyCounted) {
  NetcheckWorld world({});
  Netcheck check(world.config(), world.now, world.rng);
  check.add_server(0, world.server_a, world.now);
  const auto out = check.poll_transmit(world.now);
  ASSERT_TRUE(out);
  const auto id = wire::stun::classify(out->datagram).id;
  const auto receive = [&](NetcheckSocket socket, const Endpoint& from, const Bytes& bytes) {
    check.on_datagram(socket, from, bytes, world.now);
  };
  const Bytes reply = wire::stun::make_reply(id, at("5.5.5.21:1"));
  receive(NetcheckSocket::Main, at("5.5.5.66:3478"), reply);
  receive(NetcheckSocket::Second, world.server_a, reply);
  receive(NetcheckSocket::Main, world.server_a, wire::stun::make_reply(id, at("[2001:db8::1]:1")));
  receive(NetcheckSocket::Main, world.server_a, wire::stun::make_reply({}, at("5.5.5.21:1")));
  receive(NetcheckSocket::Main, world.server_a, to_bytes(wire::stun::make_request(id)));
  receive(NetcheckSocket::Main, world.server_a, {});
  EXPECT_EQ(check.counters().foreign, 6u);
  EXPECT_EQ(check.report().v4.servers_answered, 0u);
  check.on_datagram(NetcheckSocket::Main, world.server_a, reply, world.now + 7ms);
  EXPECT_EQ(check.report().v4.servers_answered, 1u);
  EXPECT_EQ(check.report().relays.at(0).v4, 7ms);
}

TEST(Netcheck, AServerCannotAimUsAtOthers) {
  for (const std::string_view other : {"192.168.11.1:80", "127.0.0.1:3479", "224.0.0.1:3479", "0.0.0.0:1",
                                       "5.5.5.10:9", "5.5.5.66:3478", "5.5.5.66:0", "[2001:db8::1]:1"}) {
    SCOPED_TRACE(other);
    NetcheckWorld world({});
    Netcheck check(world.config(), world.now, world.rng);
    check.add_server(0, world.server_a, world.now);
    check.no_more_servers();
    for (; !check.is_finished(world.now); world.now += 50ms) {
      while (const auto out = check.poll_transmit(world.now)) {
        EXPECT_TRUE(out->to == world.server_a || out->to.address == world.outside) << out->to.to_string();
        const auto request = wire::stun::parse_behaviour_request(out->datagram);
        ASSERT_TRUE(request);
        const Bytes reply = wire::stun::make_behaviour_reply(request->id, {world.outside, 9}, world.server_a,
                                                             Endpoint::parse(other).value_or(Endpoint{}));
        check.on_datagram(out->socket, world.server_a, reply, world.now);
      }
    }
    EXPECT_EQ(check.report().v4.nat.mapping, M::Unknown);
  }
}

TEST(Netcheck, ServersAreBoundedAndAskedOnceEach) {
  NetcheckWorld world({.udp = false});
  Netcheck check(world.config(1), world.now, world.rng);
  for (unsigned i = 0; i < 1000; ++i) {
    const auto high = static_cast<std::uint8_t>(i / 250), low = static_cast<std::uint8_t>(i % 250);
    const Endpoint server{IpAddress::v4(9, 9, high, low), 3478};
    check.add_server(0, server, world.now);
    check.add_server(0, server, world.now);
  }
  check.add_server(5, world.server_a, world.now);  // no such relay
  check.no_more_servers();
  world.run(check);
  EXPECT_EQ(check.report().v4.servers_asked, Netcheck::kMaxServers);
  EXPECT_EQ(check.counters().sent, 5 * Netcheck::kMaxServers);
  for (const auto& [to, count] : world.sent_to) EXPECT_LE(count, 5u) << to.to_string();
}

}  // namespace
}  // namespace dh::path
