// The simulated boxes as two servers with two ports each see them, and their timers.

#include <gtest/gtest.h>

#include "sim/nat_world.hh"

namespace dh::sim {
namespace {

// What RFC 4787 asks about a box.
struct Traits {
  NatMapping mapping;
  NatFiltering filtering;
  bool keeps_port, hairpins;
};

struct Probed {
  explicit Probed(const NatOptions& options, std::uint64_t seed = 1)
      : lab(seed),
        site(lab.add_site(1, options)),
        inside(lab.internet, site.host, kInsidePort),
        servers{Listener(lab.internet, lab.internet.add_host(kAddresses[0]), 7000),
                Listener(lab.internet, lab.internet.add_host(kAddresses[1]), 7000)},
        others{Listener(lab.internet, HostId(host_number(0)), 7001),
               Listener(lab.internet, HostId(host_number(1)), 7001)} {}
  static constexpr std::uint16_t kInsidePort = 33'000;  // none that a box would begin with
  static constexpr std::uint32_t kFirstServer = 2;      // hosts so far: the STUN server and the site's
  static std::uint32_t host_number(std::uint32_t i) { return kFirstServer + i; }

  Listener& server(int address, int port) { return port == 0 ? servers[address] : others[address]; }
  static Endpoint endpoint(int address, int port) {
    return {kAddresses[address], static_cast<std::uint16_t>(7000 + port)};
  }
  /// Where the inside socket appears from there.
  std::optional<Endpoint> seen(int address, int port) {
    Listener& to = server(address, port);
    const std::size_t before = to.count();
    inside.send(endpoint(address, port));
    lab.run(10ms);
    if (to.count() == before) return std::nullopt;
    return to.arrived.back().first;
  }
  bool gets_in(int address, int port, const Endpoint& to) {
    const std::size_t before = inside.count();
    server(address, port).send(to);
    lab.run(10ms);
    return inside.count() > before;
  }

  static inline const std::array<IpAddress, 2> kAddresses = {IpAddress::v4(6, 6, 6, 1),
                                                             IpAddress::v4(6, 6, 7, 1)};
  NatWorld lab;
  Site site;
  Listener inside;
  std::array<Listener, 2> servers, others;
};

Traits observe(const NatOptions& options) {
  Traits out{};
  {
    Probed world(options);
    const auto a = world.seen(0, 0), b = world.seen(0, 1), c = world.seen(1, 0), d = world.seen(1, 1);
    EXPECT_TRUE(a && b && c && d);
    EXPECT_EQ(world.seen(0, 0), a);  // and the same again later
    out.keeps_port = a->port == Probed::kInsidePort;
    out.mapping = *a == *c   ? NatMapping::EndpointIndependent
                  : *a == *b ? NatMapping::AddressDependent
                             : NatMapping::AddressAndPortDependent;
    EXPECT_EQ(*a == *b, *c == *d);
  }
  {
    Probed world(options);
    const auto external = world.seen(0, 0);
    EXPECT_TRUE(world.gets_in(0, 0, *external));
    const bool other_port = world.gets_in(0, 1, *external), other_address = world.gets_in(1, 0, *external);
    out.filtering = other_address ? NatFiltering::EndpointIndependent
                    : other_port  ? NatFiltering::AddressDependent
                                  : NatFiltering::AddressAndPortDependent;
    EXPECT_TRUE(other_port || !other_address);
  }
  {
    Probed world(options);
    const auto external = world.seen(0, 0);
    Listener neighbour(world.lab.internet,
                       world.lab.internet.add_host(IpAddress::v4(192, 168, 11, 3), world.site.box), 50'000);
    neighbour.send(Probed::endpoint(0, 0));
    world.lab.run(10ms);
    world.inside.send(world.server(0, 0).arrived.back().first);  // as two peers do it: both ways
    neighbour.send(*external);
    world.lab.run(10ms);
    out.hairpins = world.inside.count() > 0;
    if (out.hairpins) {
      EXPECT_EQ(world.inside.arrived[0].first.address, NatWorld::public_address(1));
    }
  }
  return out;
}

TEST(NatPresets, BehaveAsTheirNamesSay) {
  using enum NatMapping;
  const struct {
    NatKind kind;
    Traits traits;
  } expected[] = {
      {NatKind::FullCone, {EndpointIndependent, NatFiltering::EndpointIndependent, true, true}},
      {NatKind::AddressRestricted, {EndpointIndependent, NatFiltering::AddressDependent, true, true}},
      {NatKind::PortRestricted, {EndpointIndependent, NatFiltering::AddressAndPortDependent, true, false}},
      {NatKind::Naive, {EndpointIndependent, NatFiltering::AddressAndPortDependent, true, false}},
      {NatKind::AddressDependent,
       {NatMapping::AddressDependent, NatFiltering::AddressAndPortDependent, false, false}},
      {NatKind::SymmetricSequential,
       {AddressAndPortDependent, NatFiltering::AddressAndPortDependent, false, false}},
      {NatKind::SymmetricRandom,
       {AddressAndPortDependent, NatFiltering::AddressAndPortDependent, false, false}},
      {NatKind::CgnPortBlock, {EndpointIndependent, NatFiltering::AddressAndPortDependent, false, false}},
      {NatKind::OneToOne, {EndpointIndependent, NatFiltering::EndpointIndependent, true, false}},
      {NatKind::OneToOneFirewall, {EndpointIndependent, NatFiltering::AddressAndPortDependent, true, false}},
  };
  for (const auto& [kind, traits] : expected) {
    SCOPED_TRACE(to_string(kind));
    const Traits seen = observe(preset(kind));
    EXPECT_EQ(seen.mapping, traits.mapping);
    EXPECT_EQ(seen.filtering, traits.filtering);
    EXPECT_EQ(seen.keeps_port, traits.keeps_port);
    EXPECT_EQ(seen.hairpins, traits.hairpins);
  }
}

TEST(NatPresets, ASequentialBoxCountsAndARandomOneDoesNot) {
  Probed sequential(preset(NatKind::SymmetricSequential));
  const auto a = sequential.seen(0, 0), b = sequential.seen(0, 1), c = sequential.seen(1, 0);
  EXPECT_EQ(b->port, a->port + 1);
  EXPECT_EQ(c->port, b->port + 1);
  Probed random(preset(NatKind::SymmetricRandom));
  const auto d = random.seen(0, 0), e = random.seen(0, 1);
  EXPECT_GT(std::abs(d->port - e->port), 16);
}

TEST(NatPresets, ABlockedBoxLetsNothingPass) {
  Probed world(preset(NatKind::UdpBlocked));
  EXPECT_FALSE(world.seen(0, 0));
  EXPECT_FALSE(world.gets_in(0, 0, {NatWorld::public_address(1), Probed::kInsidePort}));
}

TEST(NatPresets, SubscribersOfACarrierGetBlocksOfPortsOfTheirOwn) {
  Probed world(preset(NatKind::CgnPortBlock));
  const auto first = world.seen(0, 0);
  Listener neighbour(world.lab.internet,
                     world.lab.internet.add_host(IpAddress::v4(192, 168, 11, 3), world.site.box), 50'000);
  neighbour.send(Probed::endpoint(0, 0));
  world.lab.run(10ms);
  const Endpoint second = world.server(0, 0).arrived.back().first;
  EXPECT_EQ((first->port - 20'000) / 1024, 0);
  EXPECT_EQ((second.port - 20'000) / 1024, 1);
}

TEST(NatTimers, AMappingThatWasNeverAnsweredLivesThirtySeconds) {
  for (const auto& [wait, alive] : {std::pair{29s, true}, std::pair{31s, false}}) {
    Probed world(preset(NatKind::PortRestricted));
    const auto external = world.seen(0, 0);
    world.lab.run(wait);
    EXPECT_EQ(world.gets_in(0, 0, *external), alive) << wait.count();
  }
}

TEST(NatTimers, OneWithTrafficBothWaysForTwoSecondsLivesTwoMinutes) {
  for (const auto& [wait, alive] : {std::pair{119s, true}, std::pair{121s, false}}) {
    Probed world(preset(NatKind::PortRestricted));
    const auto external = world.seen(0, 0);
    EXPECT_TRUE(world.gets_in(0, 0, *external));
    world.lab.run(3s);
    world.seen(0, 0);
    world.lab.run(wait);
    EXPECT_EQ(world.gets_in(0, 0, *external), alive) << wait.count();
  }
}

TEST(NatTimers, EveryPacketRenewsAMapping) {
  Probed world(preset(NatKind::PortRestricted));
  const auto external = world.seen(0, 0);
  for (int i = 0; i < 10; ++i) {
    world.lab.run(25s);
    EXPECT_EQ(world.seen(0, 0), external);
  }
}

TEST(NatTimers, AFullTableTakesNoNewFlowsAndKeepsTheOldOnes) {
  NatOptions options = preset(NatKind::PortRestricted);
  options.max_flows = 3;
  Probed world(options);
  EXPECT_TRUE(world.seen(0, 0) && world.seen(0, 1) && world.seen(1, 0));
  EXPECT_FALSE(world.seen(1, 1));
  EXPECT_EQ(world.lab.internet.nat(world.site.box).counters().table_full, 1u);
  EXPECT_TRUE(world.seen(0, 0));
  world.lab.run(31s);
  EXPECT_TRUE(world.seen(1, 1));
}

// Two homes behind one carrier's box.
struct Carrier {
  explicit Carrier(bool hairpin) {
    NatOptions options = preset(NatKind::PortRestricted);
    options.hairpin = hairpin;
    cgn = lab.internet.add_box(options, IpAddress::v4(5, 5, 5, 30));
    for (std::uint8_t n = 0; n < 2; ++n) {
      const BoxId home =
          lab.internet.add_box(preset(NatKind::PortRestricted),
                               IpAddress::v4(100, 64, 0, static_cast<std::uint8_t>(2 + n)), {}, cgn);
      const HostId host =
          lab.internet.add_host(IpAddress::v4(192, 168, static_cast<std::uint8_t>(11 + n), 2), home);
      homes.push_back(home);
      hosts.push_back(std::make_unique<Listener>(lab.internet, host, NatWorld::kPort));
    }
  }
  bool punches() {
    const auto a = ask_stun(lab, *hosts[0], lab.server.endpoint()),
               b = ask_stun(lab, *hosts[1], lab.server.endpoint());
    EXPECT_TRUE(a && b);
    const std::size_t before = hosts[0]->count();
    for (int i = 0; i < 3; ++i) {
      hosts[0]->send(*b);
      hosts[1]->send(*a);
      lab.run(100ms);
    }
    return hosts[0]->count() > before;
  }

  NatWorld lab;
  BoxId cgn{};
  std::vector<BoxId> homes;
  std::vector<std::unique_ptr<Listener>> hosts;
};

TEST(BehindOneCarrier, HomesReachEachOtherOnlyWhenItsBoxHairpins) {
  EXPECT_TRUE(Carrier(true).punches());
  EXPECT_FALSE(Carrier(false).punches());
}

TEST(BehindOneCarrier, APortMappingWithACarriersAddressServesItsOtherCustomers) {
  Carrier carrier(false);
  carrier.lab.internet.nat(carrier.homes[0])
      .add_port_mapping(
          {.external_port = 41641, .inside = {IpAddress::v4(192, 168, 11, 2), NatWorld::kPort}});
  carrier.hosts[1]->send({IpAddress::v4(100, 64, 0, 2), 41641});
  carrier.lab.run(10ms);
  EXPECT_EQ(carrier.hosts[0]->count(), 1u);
}

TEST(LowTtl, OpensTheOwnBoxesAndDiesBeforeThePeers) {
  Probed world(preset(NatKind::PortRestricted));
  for (const int ttl : {1, 2, 3, 4}) {
    const std::size_t before = world.server(0, 0).count();
    world.inside.send(Probed::endpoint(0, 0), "open", ttl);
    world.lab.run(10ms);
    const bool opened = world.lab.internet.nat(world.site.box).flow_count(world.lab.world.now()) > 0;
    EXPECT_EQ(opened, ttl >= 2) << ttl;
    EXPECT_EQ(world.server(0, 0).count() > before, ttl >= 3) << ttl;  // the box, the core
  }
}

TEST(LowTtl, BehindACarrierThreeHopsOpenBothBoxesAndTwoOnlyTheFirst) {
  Carrier carrier(false);
  const Endpoint far{IpAddress::v4(6, 6, 6, 1), 7000};
  const auto flows = [&](BoxId box) {
    return carrier.lab.internet.nat(box).flow_count(carrier.lab.world.now());
  };
  carrier.hosts[0]->send(far, "open", 2);
  carrier.lab.run(10ms);
  EXPECT_EQ(flows(carrier.homes[0]), 1u);
  EXPECT_EQ(flows(carrier.cgn), 0u);
  carrier.hosts[0]->send(far, "open", 3);
  carrier.lab.run(10ms);
  EXPECT_EQ(flows(carrier.cgn), 1u);
}

TEST(NaiveBox, APacketThatComesTooEarlySpoilsThePortForItsSenderOnly) {
  Probed world(preset(NatKind::Naive));
  const auto first = world.seen(0, 0);
  EXPECT_FALSE(world.gets_in(1, 0, *first));
  EXPECT_NE(world.seen(1, 0), first);  // another port towards the one who came too early
  EXPECT_EQ(world.seen(0, 0), first);
  EXPECT_EQ(world.seen(0, 1), first);
}

}  // namespace
}  // namespace dh::sim
