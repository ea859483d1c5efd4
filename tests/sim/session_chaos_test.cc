// Anything at any time: boxes, wires, relay and hosts misbehave at random moments, and when they have calmed
// down, every byte arrives.

#include <array>
#include <cstdlib>

#include <gtest/gtest.h>

#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

constexpr std::array kKinds = {
    NatKind::OneToOne,
    NatKind::OneToOneFirewall,
    NatKind::FullCone,
    NatKind::AddressRestricted,
    NatKind::PortRestricted,
    NatKind::AddressDependent,
    NatKind::SymmetricSequential,
    NatKind::SymmetricRandom,
    NatKind::SymmetricPortMapped,
    NatKind::Naive,
    NatKind::CgnPortBlock,
};

std::uint64_t seed_count(std::uint64_t usual) {
  const char* text = std::getenv("DERPHOLE_NAT_SEEDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

struct Chaos {
  explicit Chaos(std::uint64_t seed) : rng(seed ^ 0xc4a05) {
    const auto some_box = [&] { return kKinds[rng.below(kKinds.size())]; };
    const auto delay = [&] { return Duration(std::chrono::microseconds(500 + rng.below(60'000))); };
    options.seed = seed;
    options.bytes = 200'000 + rng.below(3'000'000);
    options.write_bytes_per_second = rng.chance(0.3) ? 0 : 20e3 + rng.unit() * 300e3;
    options.write_interval = 10ms;
    options.dialer_sends = rng.chance(0.5);
    options.dialer_box = some_box();
    options.listener_box = some_box();
    options.relay_link = {.delay = delay(), .bytes_per_second = 2e6};
    for (Wire* wire : {&options.dialer_wire, &options.listener_wire}) {
      wire->delay = delay();
      wire->bytes_per_second = 200e3 + rng.unit() * 3e6;
      if (rng.chance(0.3)) wire->jitter = Duration(std::chrono::microseconds(1 + rng.below(20'000)));
      wire->reorders = rng.chance(0.5);
      if (rng.chance(0.3)) wire->loss = rng.unit() * 0.05;
    }
  }

  void something(NatSession& pair) {
    const bool dialers = rng.chance(0.5);
    const Site& site = dialers ? pair.dialer_site : pair.listener_site;
    Host& host = dialers ? pair.dialer() : pair.listener();
    Nat& nat = pair.lab.internet.nat(site.box);
    Wire& wire = pair.lab.internet.box_wire(site.box);
    switch (rng.below(14)) {
      case 0:
        return nat.flush();
      case 1:
        return nat.rebind();
      case 2:
        return nat.reboot();
      case 3:
        return nat.set_public_address(IpAddress::v4(5, 5, 100, static_cast<std::uint8_t>(++addresses)));
      case 4:
        return nat.block_udp(static_cast<Nat::Direction>(rng.below(3)));
      case 5:
      case 6:
        return nat.heal();
      case 7:
        pair.relay.kill();
        return pair.lab.world.after(Duration(std::chrono::milliseconds(rng.below(4000))),
                                    [&pair] { pair.relay.start(); });
      case 8:
        pair.relay.set_black_hole(true);
        return pair.lab.world.after(Duration(std::chrono::milliseconds(rng.below(8000))),
                                    [&pair] { pair.relay.set_black_hole(false); });
      case 9:
        return host.freeze(Duration(std::chrono::milliseconds(rng.below(rng.chance(0.2) ? 30'000 : 1500))));
      case 10:
        wire.mtu = rng.chance(0.5) ? 1500 : 300 + rng.below(1000);
        return;
      case 11:
        wire.loss = rng.chance(0.5) ? 0 : rng.unit() * 0.3;
        return;
      case 12:
        wire.delay = Duration(std::chrono::microseconds(500 + rng.below(100'000)));
        return;
      default:
        return host.network_changed();
    }
  }
  static void calm(NatSession& pair) {
    for (const Site* site : {&pair.dialer_site, &pair.listener_site}) {
      pair.lab.internet.nat(site->box).heal();
      Wire& wire = pair.lab.internet.box_wire(site->box);
      wire.mtu = 1500;
      wire.loss = 0;
    }
  }

  SeededRng rng;
  NatSessionOptions options;
  int addresses = 0;
};

TEST(SessionInChaos, EveryByteArrivesOnceItIsOver) {
  const char* first = std::getenv("DERPHOLE_NAT_FIRST_SEED");
  const std::uint64_t start = first == nullptr ? 1 : std::strtoull(first, nullptr, 10);
  for (std::uint64_t seed = start; seed < start + seed_count(30); ++seed) {
    Chaos chaos(seed);
    NatSession pair(chaos.options);
    const int events = 1 + static_cast<int>(chaos.rng.below(25));
    for (int i = 0; i < events && !pair.is_over(); ++i) {
      pair.run_for(Duration(std::chrono::milliseconds(chaos.rng.below(2500))));
      chaos.something(pair);
    }
    chaos.calm(pair);
    EXPECT_EQ(pair.finish(), "") << "seed " << seed << ", " << to_string(chaos.options.dialer_box) << " x "
                                 << to_string(chaos.options.listener_box);
  }
}

}  // namespace
}  // namespace dh::sim
