// What happens to the network in the middle of a transfer, and what its user notices of it: the longest pause
// at the application that reads, and when the direct path is in use again.

#include <array>
#include <cstdlib>

#include <gtest/gtest.h>

#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

std::uint64_t seed_count(std::uint64_t usual) {
  const char* text = std::getenv("DERPHOLE_NAT_SEEDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

// 20 ms one way, directly and over the relay. The direct path has twice the relay's rate.
NatSessionOptions streaming(std::uint64_t seed) {
  NatSessionOptions out;
  out.seed = seed;
  out.dialer_sends = seed % 2 == 0;
  out.write_bytes_per_second = 120e3;
  out.write_interval = 10ms;
  out.relay_link.bytes_per_second = 1.25e6;
  out.dialer_wire.bytes_per_second = out.listener_wire.bytes_per_second = 2.5e6;
  return out;
}

// Whose box it happens to: with four seeds in a row, every combination of who dials, who sends and whose box.
Site site_of(const NatSession& pair, std::uint64_t seed) {
  const bool dialer_sends = seed % 2 == 0, senders = seed % 4 < 2;
  return dialer_sends == senders ? pair.dialer_site : pair.listener_site;
}

struct Act {
  NatSession& pair;
  BoxId id;
  Nat& box() const { return pair.lab.internet.nat(id); }
  Wire& wire() const { return pair.lab.internet.box_wire(id); }
  void repeatedly(int times, Duration every, Duration gone) const {
    for (int i = 0; i < times; ++i) {
      pair.lab.world.after(i * every, [act = *this] { act.box().block_udp(); });
      pair.lab.world.after(i * every + gone, [act = *this] { act.box().heal(); });
    }
  }
};

// What its user may notice of an event.
struct Limits {
  double pause = 0.035;           // seconds without a byte at the reader: what jitters by itself
  double back = 0.1;              // seconds from its end until both use a direct path again, for good
  std::uint64_t most_losses = 0;  // of the direct path, both ends together
};
constexpr Limits kUnnoticed{};
// 250 ms without an acknowledgement, a round trip each to see it and to mend it over the relay.
constexpr Limits kMended{.pause = 0.360, .back = 1.0, .most_losses = 2};

struct Event {
  std::string_view name;
  Limits limits;
  void (*begin)(const Act&);
  Duration lasting{};
  void (*end)(const Act&) = [](const Act&) {};
};

void heal(const Act& act) {
  act.box().heal();
}
void start_relay(const Act& act) {
  act.pair.relay.start();
}

const std::array kEvents = {
    Event{"nothing", kUnnoticed, [](const Act&) {}},
    Event{"the NAT forgets its mappings", kMended, [](const Act& act) { act.box().flush(); }},
    Event{"the NAT gives out other ports", kMended, [](const Act& act) { act.box().rebind(); }},
    Event{"the router reboots", kMended, [](const Act& act) { act.box().reboot(); }},
    Event{"a new public address", kMended,
          [](const Act& act) { act.box().set_public_address(IpAddress::v4(5, 5, 7, 77)); }},
    Event{"UDP is blocked", kMended, [](const Act& act) { act.box().block_udp(); }, 3s, heal},
    Event{"UDP is blocked for long", kMended, [](const Act& act) { act.box().block_udp(); }, 20s, heal},
    Event{"outgoing UDP is blocked", kMended,
          [](const Act& act) { act.box().block_udp(Nat::Direction::Outbound); }, 3s, heal},
    Event{"incoming UDP is blocked", kMended,
          [](const Act& act) { act.box().block_udp(Nat::Direction::Inbound); }, 3s, heal},
    Event{"the relay dies", kUnnoticed, [](const Act& act) { act.pair.relay.kill(); }, 2s, start_relay},
    Event{"the relay is dead for long", kUnnoticed, [](const Act& act) { act.pair.relay.kill(); }, 15s,
          start_relay},
    Event{"the relay is a black hole", kUnnoticed,
          [](const Act& act) { act.pair.relay.set_black_hole(true); }, 20s,
          [](const Act& act) { act.pair.relay.set_black_hole(false); }},
    // The relay delivers more, so the stream goes there; after two minutes the direct path has another
    // chance.
    Event{"5 % loss", Limits{.pause = 0.2, .back = 130, .most_losses = 2},
          [](const Act& act) { act.wire().loss = 0.05; }, 10s, [](const Act& act) { act.wire().loss = 0; }},
    Event{"UDP is gone for 50 ms twice a second", Limits{.pause = 0.2},
          [](const Act& act) { act.repeatedly(20, 500ms, 50ms); }, 10s},
    Event{"UDP is gone for 400 ms every second", Limits{.pause = 0.4, .back = 17, .most_losses = 8},
          [](const Act& act) { act.repeatedly(15, 1s, 400ms); }, 15s},
    Event{"only small packets pass", Limits{.pause = 0.55, .back = 15.5, .most_losses = 2},
          [](const Act& act) { act.wire().mtu = 1000; }, 15s, [](const Act& act) { act.wire().mtu = 1500; }},
};

class DuringATransfer : public testing::TestWithParam<std::size_t> {};

TEST_P(DuringATransfer, TheStreamGoesOnAndTheDirectPathComesBack) {
  const Event& event = kEvents[GetParam()];
  for (std::uint64_t seed = 1; seed <= seed_count(2); ++seed) {
    SCOPED_TRACE(fmt::format("{}, seed {}", event.name, seed));
    NatSessionOptions options = streaming(seed);
    const double lasts = to_seconds(event.lasting) + event.limits.back + 8;
    options.bytes = static_cast<std::uint64_t>(options.write_bytes_per_second * lasts);
    NatSession pair(options);
    ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
    pair.run_for(1s);
    const Act act{pair, site_of(pair, seed).box};
    pair.receiver().reset_gap();
    event.begin(act);
    pair.run_for(event.lasting);
    event.end(act);
    const Instant over = pair.lab.world.now();
    pair.run_for(500ms);  // whoever has not yet noticed that the path is gone counts as using it
    EXPECT_TRUE(pair.run_until([&] { return pair.is_direct(); }, from_seconds(event.limits.back)));
    const double took = to_seconds(pair.lab.world.now() - over) - 0.5;
    const double pause = to_seconds(pair.receiver().longest_gap());
    pair.run_for(2s);
    const std::uint64_t losses =
        pair.dialer().path_log().direct_losses + pair.listener().path_log().direct_losses;
    EXPECT_TRUE(pair.is_direct());
    EXPECT_LE(pause, event.limits.pause);
    EXPECT_LE(losses, event.limits.most_losses);
    if (std::getenv("DERPHOLE_NAT_SEEDS") != nullptr)
      fmt::print("{:40} seed {:3}: pause {:.3f} s, direct again after {:.3f} s, {} losses\n", event.name,
                 seed, pause, took, losses);
    EXPECT_EQ(pair.finish(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Events, DuringATransfer, testing::Range<std::size_t>(0, kEvents.size()));

// UDP begins to work at some time of a running transfer.
TEST(PromotionDuringATransfer, IsNotNoticedByTheReader) {
  struct When {
    Duration after;
    double direct_within;
  };
  for (const auto& [after, direct_within] : {When{200ms, 3.0}, When{1s, 3.0}, When{5s, 4.0}}) {
    for (const bool full_speed : {false, true}) {
      for (std::uint64_t seed = 1; seed <= seed_count(1); ++seed) {
        NatSessionOptions options = streaming(seed);
        options.bytes = 2 << 20;
        if (full_speed) {
          options.write_bytes_per_second = 0;
          options.relay_link.bytes_per_second /= 2;
          options.dialer_wire.bytes_per_second = options.listener_wire.bytes_per_second /= 2;
          options.bytes = 8 << 20;
        }
        NatSession pair(options);
        Nat& box = pair.lab.internet.nat(site_of(pair, seed).box);
        box.block_udp();
        ASSERT_TRUE(pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s));
        pair.run_for(after);
        pair.receiver().reset_gap();
        box.heal();
        const Instant healed = pair.lab.world.now();
        EXPECT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 20s));
        EXPECT_LE(to_seconds(pair.lab.world.now() - healed), direct_within) << to_seconds(after);
        pair.run_for(1s);
        EXPECT_LE(to_seconds(pair.receiver().longest_gap()), 0.100) << to_seconds(after) << " seed " << seed;
        EXPECT_EQ(pair.finish(), "");
        EXPECT_EQ(pair.sender().path_log().direct_losses, 0u);
      }
    }
  }
}

// As much as the path takes.
NatSessionOptions pouring(std::uint64_t seed) {
  NatSessionOptions options = streaming(seed);
  options.write_bytes_per_second = 0;
  options.bytes = 40 << 20;
  return options;
}

TEST(LossyDirectPath, GivesWayToARelayThatDeliversMore) {
  for (std::uint64_t seed = 1; seed <= seed_count(2); ++seed) {
    NatSession pair(pouring(seed));
    ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
    const Act act{pair, site_of(pair, seed).box};
    act.wire().loss = 0.3;
    ASSERT_TRUE(pair.run_until([&] { return !pair.sender().path_log().direct; }, 10s)) << seed;
    const std::uint64_t before = pair.receiver().received();
    pair.run_for(10s);
    EXPECT_GE(pair.receiver().received() - before, 6'250'000u)
        << "half of what the relay has, with more tries";
    EXPECT_EQ(pair.finish(), "") << seed;
  }
}

// What the controller can live with is no reason to burden a relay.
TEST(LossyDirectPath, IsKeptWhileItDelivers) {
  for (std::uint64_t seed = 1; seed <= seed_count(2); ++seed) {
    NatSession pair(pouring(seed));
    ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
    const Act act{pair, site_of(pair, seed).box};
    act.wire().loss = 0.03;
    pair.run_for(3s);
    const std::uint64_t before = pair.receiver().received();
    pair.run_for(5s);
    EXPECT_TRUE(pair.is_direct());
    EXPECT_GE(pair.receiver().received() - before, 9'000'000u) << "of 2.5 MB/s, " << seed;
    EXPECT_EQ(pair.finish(), "") << seed;
  }
}

// IPv4 through the boxes, and IPv6 over wires of their own.
TEST(TwoEqualPaths, WhoseDelayGoesUpAndDownAreNotSwitchedBetween) {
  for (std::uint64_t seed = 1; seed <= seed_count(1); ++seed) {
    NatSessionOptions options = streaming(seed);
    options.bytes = 5 << 20;
    NatSession pair(options);
    Wire* v6_wire = nullptr;
    std::uint8_t n = 1;
    for (const Site& site : {pair.dialer_site, pair.listener_site})
      v6_wire = &pair.lab.internet
                     .add_interface(site.host, {.addresses = {NatSession::ipv6_address(n++)},
                                                .wire = Wire{.delay = 11ms}})
                     .wire;
    for (int i = 0; i < 60; ++i)
      pair.lab.world.after(i * 1s, [=] { v6_wire->delay = i % 2 == 0 ? 9ms : 14ms; });
    ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
    pair.run_for(30s);
    for (Host* host : {&pair.dialer(), &pair.listener()}) {
      EXPECT_LE(host->session().paths()->switches(), 4u);
      EXPECT_EQ(host->path_log().direct_losses, 0u);
    }
    EXPECT_EQ(pair.finish(), "");
  }
}

}  // namespace
}  // namespace dh::sim
