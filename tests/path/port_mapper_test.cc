#include "path/port_mapper.hh"

#include <gtest/gtest.h>

#include "base/overloaded.hh"

namespace dh::path {
namespace {

namespace nat_pmp = wire::nat_pmp;
namespace pcp = wire::pcp;
using WireSeconds = std::chrono::duration<std::uint32_t>;
using Event = PortMapper::Event;
using Lost = PortMapper::Lost;
using LostReason = PortMapper::LostReason;
using Mapped = PortMapper::Mapped;
using Unavailable = PortMapper::Unavailable;
using UpnpWanted = PortMapper::UpnpWanted;

template <typename Message>
Bytes bytes_of(const Message& message) {
  Bytes out;
  Writer w(out);
  message.serialize(w);
  return out;
}

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

// A home router on the other end: answers what it is told to speak.
struct Router {
  bool pcp = true, nat_pmp = true;
  pcp::Result pcp_result = pcp::Result::Success;
  IpAddress external = IpAddress::v4(5, 5, 5, 21);
  std::uint16_t port = 0;  // granted instead of the wish
  std::uint32_t lifetime = 7200;
  Instant booted{};
  std::vector<pcp::Request> pcp_requests;
  std::vector<nat_pmp::Request> nat_pmp_requests;

  WireSeconds epoch(Instant now) const { return std::chrono::duration_cast<WireSeconds>(now - booted); }

  std::optional<Bytes> answer(ByteView datagram, Instant now) {
    if (const auto request = pcp::Request::parse(datagram)) {
      pcp_requests.push_back(*request);
      if (!pcp) return std::nullopt;
      pcp::Reply reply;
      reply.opcode = request->mapping ? 1 : 0;
      reply.epoch = epoch(now);
      reply.mapping = request->mapping;
      if (request->mapping) {
        reply.result = pcp_result;
        reply.lifetime = request->lifetime.count() == 0 ? WireSeconds(0) : WireSeconds(lifetime);
        reply.mapping->external_address = external;
        if (port != 0) reply.mapping->external_port = port;
      }
      return bytes_of(reply);
    }
    const auto request = nat_pmp::parse_request(datagram);
    EXPECT_TRUE(request) << to_hex(datagram);
    nat_pmp_requests.push_back(*request);
    if (!nat_pmp) return std::nullopt;
    if (const auto* map = std::get_if<nat_pmp::MapRequest>(&*request)) {
      nat_pmp::MapReply reply;
      reply.epoch = epoch(now);
      reply.internal_port = map->internal_port;
      reply.external_port = port != 0 ? port : map->external_port;
      reply.lifetime = map->lifetime.count() == 0 ? WireSeconds(0) : WireSeconds(lifetime);
      return bytes_of(reply);
    }
    return bytes_of(nat_pmp::AddressReply{.epoch = epoch(now), .external = external});
  }
};

struct Lan {
  explicit Lan(IpAddress gateway_in = IpAddress::v4(192, 168, 11, 1),
               IpAddress local = IpAddress::v4(192, 168, 11, 2))
      : gateway(gateway_in), mapper({gateway_in, local, 41641}, now, rng) {}

  Endpoint server() const { return {gateway, 5351}; }

  // Carries everything both ways until nothing moves.
  void exchange() {
    while (const auto transmit = mapper.poll_transmit()) {
      EXPECT_EQ(transmit->to, server());
      if (const auto reply = router.answer(transmit->datagram, now))
        mapper.on_datagram(server(), *reply, now);
    }
  }
  // Lets time pass, timers included.
  void pass(Duration duration) {
    const Instant end = now + duration;
    exchange();
    while (const auto next = mapper.next_timeout()) {
      if (*next > end) break;
      EXPECT_GE(*next, now) << "a timer in the past would spin";
      now = *next;
      mapper.on_timeout(now);
      exchange();
    }
    now = end;
  }
  std::vector<Event> events() {
    std::vector<Event> out;
    while (auto event = mapper.poll_event()) out.push_back(*event);
    return out;
  }

  Instant now{100h};
  SeededRng rng{1};
  IpAddress gateway;
  Router router;
  PortMapper mapper;
};

Mapped mapped(MappingProtocol protocol, std::string_view external = "5.5.5.21:41641",
              Duration lifetime = 7200s) {
  return {Endpoint::parse(external).value(), protocol, lifetime};
}

using Events = std::vector<Event>;

TEST(PortMapper, PrefersPcpWhereBothAnswer) {
  Lan lan;
  lan.pass(2s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp)}));
  EXPECT_EQ(lan.mapper.counters().sent, 3u);
  EXPECT_EQ(lan.router.nat_pmp_requests, (std::vector<nat_pmp::Request>{nat_pmp::AddressRequest{}}));
  const auto presence = lan.mapper.presence();
  EXPECT_TRUE(presence.pcp && presence.nat_pmp && !presence.upnp);
  EXPECT_EQ(presence.nat_pmp_address, address("5.5.5.21"));
}

TEST(PortMapper, WaitsALittleForPcpBeforeItTakesNatPmp) {
  Lan lan;
  lan.router.pcp = false;
  lan.pass(99ms);
  EXPECT_TRUE(lan.events().empty());
  lan.pass(1ms);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::NatPmp)}));
}

TEST(PortMapper, TakesNatPmpAtOnceWherePcpIsRefused) {
  Lan lan;
  lan.router.pcp_result = pcp::Result::NotAuthorized;
  lan.pass(0ms);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::NatPmp)}));
  EXPECT_EQ(lan.mapper.presence().pcp_result, pcp::Result::NotAuthorized);
}

TEST(PortMapper, AsksThreeTimesInASecondThenWantsUpnp) {
  Lan lan;
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.pass(999ms);
  EXPECT_TRUE(lan.events().empty());
  EXPECT_EQ(lan.mapper.counters().sent, 9u);
  lan.pass(1ms);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}}));
  lan.mapper.on_upnp_mapped(Endpoint::parse("5.5.5.21:41641").value(), 7200s, lan.now);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Upnp)}));
  lan.pass(600s);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}}));
  lan.mapper.on_upnp_mapped(Endpoint::parse("5.5.5.21:41641").value(), 7200s, lan.now);
  EXPECT_TRUE(lan.events().empty()) << "nothing has changed";
}

TEST(PortMapper, SaysUnavailableWhenUpnpFailsAndAsksAgainAfterTenMinutes) {
  Lan lan;
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.pass(1s);
  lan.mapper.on_upnp_failed(lan.now);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}, Unavailable{}}));
  lan.router.pcp = true;
  lan.pass(599s);
  EXPECT_TRUE(lan.events().empty());
  lan.pass(1s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp)}));
}

TEST(PortMapper, DoesNotWaitForUpnpForever) {
  Lan lan;
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.pass(1s + 6s);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}, Unavailable{}}));
}

TEST(PortMapper, GoesOnToUpnpAtOnceWhenThePortIsClosed) {
  Lan lan;
  lan.mapper.on_port_unreachable(lan.now);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}}));
}

TEST(PortMapper, RenewsAtHalfLifeWithTheSameNonceAndTheGrantedPort) {
  Lan lan;
  lan.router.nat_pmp = false;
  lan.router.port = 50000;
  lan.pass(10s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp, "5.5.5.21:50000")}));
  const auto first = lan.router.pcp_requests.back();
  lan.router.pcp_requests.clear();
  lan.pass(3589s);
  for (const auto& request : lan.router.pcp_requests) EXPECT_FALSE(request.mapping) << "only checks";
  lan.router.pcp_requests.clear();
  lan.pass(1s);
  ASSERT_EQ(lan.router.pcp_requests.size(), 1u);
  const auto renewal = lan.router.pcp_requests.back();
  EXPECT_EQ(renewal.mapping->nonce, first.mapping->nonce);
  EXPECT_EQ(renewal.mapping->external_port, 50000);
  EXPECT_EQ(renewal.mapping->external_address, address("5.5.5.21"));
  EXPECT_TRUE(lan.events().empty());
  EXPECT_EQ(lan.mapper.counters().renewed, 1u);
}

TEST(PortMapper, LosesAMappingOnlyWhenItExpires) {
  Lan lan;
  lan.pass(1s);
  lan.events();
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.pass(7198s);
  EXPECT_TRUE(lan.events().empty());
  lan.pass(1s);
  EXPECT_EQ(lan.events(), (Events{Lost{LostReason::Expired}}));
  EXPECT_FALSE(lan.mapper.mapping());
}

TEST(PortMapper, MapsAgainWhenTheEpochSaysThatTheGatewayRestarted) {
  for (const bool by_pcp : {true, false}) {
    Lan lan;
    lan.router.pcp = by_pcp;
    lan.router.nat_pmp = !by_pcp;
    lan.pass(30s);
    lan.events();
    lan.router.booted = lan.now;
    lan.pass(60s);
    const auto protocol = by_pcp ? MappingProtocol::Pcp : MappingProtocol::NatPmp;
    EXPECT_EQ(lan.events(), (Events{Lost{LostReason::GatewayRestarted}, mapped(protocol)}));
    EXPECT_EQ(lan.mapper.counters().restarts, 1u);
  }
}

TEST(PortMapper, HearsAGatewaysOwnAnnouncementButNotTooOften) {
  Lan lan;
  lan.pass(3000s);
  lan.events();
  const auto announce = [&] {
    lan.mapper.on_datagram(lan.server(), bytes_of(pcp::Reply{}), lan.now);
    lan.router.booted = lan.now;
  };
  announce();
  lan.exchange();
  EXPECT_EQ(lan.events(), (Events{Lost{LostReason::GatewayRestarted}, mapped(MappingProtocol::Pcp)}));
  lan.pass(2s);
  lan.mapper.on_datagram(lan.server(), bytes_of(pcp::Reply{}), lan.now);
  lan.exchange();
  EXPECT_TRUE(lan.events().empty()) << "somebody may be pretending";
}

TEST(PortMapper, AsksSoonAgainWhenARestartedGatewayIsNotReady) {
  Lan lan;
  lan.pass(30s);
  lan.mapper.on_datagram(lan.server(), bytes_of(pcp::Reply{}), lan.now);
  lan.events();
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.router.booted = lan.now;
  lan.pass(1s);
  lan.mapper.on_upnp_failed(lan.now);
  EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}, Unavailable{}}));
  lan.router.pcp = true;
  lan.pass(5s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp)}));
}

TEST(PortMapper, IgnoresWhatIsNotTheGatewaysAnswerToIt) {
  Lan lan;
  std::optional<Bytes> reply;
  while (const auto transmit = lan.mapper.poll_transmit()) {
    const auto request = pcp::Request::parse(transmit->datagram);
    if (request && request->mapping) reply = lan.router.answer(transmit->datagram, lan.now);
  }
  ASSERT_TRUE(reply);
  lan.mapper.on_datagram({address("192.168.11.9"), 5351}, *reply, lan.now);
  lan.mapper.on_datagram({address("192.168.11.1"), 5352}, *reply, lan.now);
  EXPECT_EQ(lan.mapper.counters().foreign, 2u);
  for (const std::size_t at : {24u, 41u}) {  // nonce, internal port
    auto other = *reply;
    other[at] ^= std::byte{1};
    lan.mapper.on_datagram(lan.server(), other, lan.now);
  }
  EXPECT_EQ(lan.mapper.counters().mismatched, 2u);
  lan.mapper.on_datagram(lan.server(), Bytes(3), lan.now);
  lan.mapper.on_datagram(lan.server(), {}, lan.now);
  EXPECT_EQ(lan.mapper.counters().malformed, 2u);
  EXPECT_TRUE(lan.events().empty());
  lan.mapper.on_datagram(lan.server(), *reply, lan.now);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp)}));
}

TEST(PortMapper, RejectsAbsurdOuterAddressesAndKeepsPrivateOnes) {
  for (const char* text :
       {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1"}) {
    Lan lan;
    lan.router.external = address(text);
    lan.pass(2s);
    EXPECT_EQ(lan.events(), (Events{UpnpWanted{41641, 41641, 7200s}})) << text;
    EXPECT_GE(lan.mapper.counters().absurd, 2u);
  }
  for (const char* text : {"100.64.0.7", "10.0.0.9", "192.168.1.2"}) {
    Lan lan;
    lan.router.external = address(text);
    lan.pass(2s);
    EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp, std::string(text) + ":41641")}));
  }
}

TEST(PortMapper, BoundsLifetimes) {
  Lan lan;
  lan.router.lifetime = 1;
  lan.pass(60s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp, "5.5.5.21:41641", 8s)}));
  EXPECT_LE(lan.mapper.counters().sent, 3u + 15u);
  Lan other;
  other.router.lifetime = 0xffffffff;
  other.pass(1s);
  EXPECT_EQ(other.events(), (Events{mapped(MappingProtocol::Pcp, "5.5.5.21:41641", 24h)}));
}

TEST(PortMapper, StartsOverWithANewNonceWhenItsAddressChanges) {
  Lan lan;
  lan.pass(1s);
  lan.events();
  const auto before = lan.router.pcp_requests.back().mapping->nonce;
  lan.mapper.on_local_address_changed(address("192.168.11.7"), lan.now);
  lan.exchange();
  EXPECT_EQ(lan.events(), (Events{Lost{LostReason::GatewayChanged}, mapped(MappingProtocol::Pcp)}));
  EXPECT_EQ(lan.router.pcp_requests.back().client, address("192.168.11.7"));
  EXPECT_NE(lan.router.pcp_requests.back().mapping->nonce, before);
}

TEST(PortMapper, DeletesWhatItWasGrantedAtTheEnd) {
  Lan lan;
  lan.pass(1s);
  const auto nonce = lan.router.pcp_requests.back().mapping->nonce;
  lan.router.pcp_requests.clear();
  lan.router.nat_pmp_requests.clear();
  lan.mapper.close(lan.now);
  EXPECT_FALSE(lan.mapper.is_closed());
  lan.exchange();
  EXPECT_TRUE(lan.mapper.is_closed());
  ASSERT_EQ(lan.router.pcp_requests.size(), 1u);
  EXPECT_EQ(lan.router.pcp_requests[0].lifetime.count(), 0u);
  EXPECT_EQ(lan.router.pcp_requests[0].mapping->nonce, nonce);
  EXPECT_TRUE(lan.router.nat_pmp_requests.empty()) << "it granted nothing";
  EXPECT_FALSE(lan.mapper.next_timeout());
}

TEST(PortMapper, DeletesByNatPmpWhatNatPmpGranted) {
  Lan lan;
  lan.router.pcp = false;
  lan.pass(1s);
  lan.router.pcp_requests.clear();
  lan.router.nat_pmp_requests.clear();
  lan.mapper.close(lan.now);
  lan.exchange();
  EXPECT_TRUE(lan.mapper.is_closed());
  EXPECT_TRUE(lan.router.pcp_requests.empty());
  ASSERT_EQ(lan.router.nat_pmp_requests.size(), 1u);
  const auto deletion = std::get<nat_pmp::MapRequest>(lan.router.nat_pmp_requests[0]);
  EXPECT_EQ(deletion.external_port, 0);
  EXPECT_EQ(deletion.lifetime.count(), 0u);
}

TEST(PortMapper, DeletesWhatMayHaveBeenGrantedWhileItAsked) {
  Lan lan;
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.exchange();
  lan.router.pcp_requests.clear();
  lan.mapper.close(lan.now);
  lan.exchange();
  ASSERT_EQ(lan.router.pcp_requests.size(), 1u);
  EXPECT_EQ(lan.router.pcp_requests[0].lifetime.count(), 0u);
}

TEST(PortMapper, DoesNotTakePcpsLateGrantOverNatPmps) {
  Lan lan;
  lan.router.pcp = false;
  lan.pass(1s);
  lan.events();
  lan.router.pcp = true;
  for (const auto& request : std::vector(lan.router.pcp_requests))
    if (request.mapping)
      lan.mapper.on_datagram(lan.server(), *lan.router.answer(bytes_of(request), lan.now), lan.now);
  EXPECT_TRUE(lan.events().empty());
  lan.mapper.close(lan.now);
  lan.router.pcp_requests.clear();
  lan.router.nat_pmp_requests.clear();
  lan.exchange();
  EXPECT_EQ(lan.router.pcp_requests.size() + lan.router.nat_pmp_requests.size(), 2u) << "both are deleted";
}

TEST(PortMapper, RepeatsADeletionOnceAndIsClosedAfterThreeTenthsOfASecond) {
  Lan lan;
  lan.pass(1s);
  lan.router.pcp = lan.router.nat_pmp = false;
  lan.router.pcp_requests.clear();
  lan.mapper.close(lan.now);
  lan.pass(299ms);
  EXPECT_FALSE(lan.mapper.is_closed());
  lan.pass(1ms);
  EXPECT_TRUE(lan.mapper.is_closed());
  EXPECT_EQ(lan.router.pcp_requests.size(), 2u);
}

TEST(PortMapper, OpensAPinholeInAnIpv6FirewallByPcpAlone) {
  Lan lan(address("2001:db8:11::1"), address("2001:db8:11::2"));
  lan.router.external = address("2001:db8:11::2");
  lan.pass(1s);
  EXPECT_EQ(lan.events(), (Events{mapped(MappingProtocol::Pcp, "[2001:db8:11::2]:41641")}));
  EXPECT_TRUE(lan.router.nat_pmp_requests.empty());
  Lan silent(address("2001:db8:11::1"), address("2001:db8:11::2"));
  silent.router.pcp = false;
  silent.pass(2s);
  EXPECT_EQ(silent.events(), (Events{Unavailable{}}));
}

TEST(PortMapper, SurvivesEveryMutilatedAnswer) {
  Lan lan;
  std::vector<Bytes> replies;
  while (const auto transmit = lan.mapper.poll_transmit())
    if (auto reply = lan.router.answer(transmit->datagram, lan.now)) replies.push_back(*reply);
  SeededRng rng(7);
  for (int i = 0; i < 20'000; ++i) {
    Bytes datagram = replies[rng.below(replies.size())];
    datagram[rng.below(datagram.size())] = static_cast<std::byte>(rng.below(256));
    datagram.resize(rng.below(datagram.size() + 1));
    lan.mapper.on_datagram(lan.server(), datagram, lan.now);
    if (rng.chance(0.1)) lan.now += std::chrono::milliseconds(rng.below(2000));
    lan.mapper.on_timeout(lan.now);
    if (rng.chance(0.01)) lan.mapper.on_upnp_failed(lan.now);
    std::size_t sent = 0;
    while (lan.mapper.poll_transmit()) ++sent;
    EXPECT_LE(sent, 8u);
    while (lan.mapper.poll_event()) {
    }
    ASSERT_TRUE(lan.mapper.next_timeout());
  }
}

}  // namespace
}  // namespace dh::path
