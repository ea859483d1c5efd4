// Others in the network, and peers with bad intentions: whom a session may be made to send to, and that
// nobody but the peer ever becomes its direct path.

#include <array>
#include <cstdlib>

#include <gtest/gtest.h>

#include "sim/hostile_dialer.hh"
#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

std::uint64_t seed_count(std::uint64_t usual) {
  const char* text = std::getenv("DERPHOLE_NAT_SEEDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

const IpAddress kAttacker = IpAddress::v4(5, 5, 9, 66);
constexpr std::uint16_t kAttackersPort = 41000;

// Every remote end a host ever used directly is its peer's box.
void expect_only_peers(NatSession& pair) {
  for (const auto& [host, peer] : {std::pair{&pair.dialer(), NatWorld::public_address(2)},
                                   std::pair{&pair.listener(), NatWorld::public_address(1)}}) {
    for (const Endpoint& remote : host->path_log().remotes) EXPECT_EQ(remote.address, peer);
  }
}

// A router lies about a port mapping, and what is there sends everything back.
class Reflector : public testing::TestWithParam<std::tuple<NatKind, bool>> {};

TEST_P(Reflector, NeverBecomesADirectPath) {
  const auto [kind, spoofs] = GetParam();
  for (std::uint64_t seed = 1; seed <= seed_count(3); ++seed) {
    NatSessionOptions options;
    options.seed = seed;
    options.dialer_box = options.listener_box = kind;
    options.dialer_mapping = {kAttacker, kAttackersPort};
    options.listener_mapping = {kAttacker, kAttackersPort + 1};
    NatSession pair(options);
    const HostId attacker = pair.lab.internet.add_host(kAttacker);
    std::uint64_t reflected = 0;
    for (const std::uint16_t port : {kAttackersPort, static_cast<std::uint16_t>(kAttackersPort + 1)})
      pair.lab.internet.open_socket(attacker, port,
                                    [&](SocketId socket, const Endpoint& from, ByteView datagram) {
                                      ++reflected;
                                      pair.lab.internet.send(socket, from, datagram);
                                    });
    if (spoofs)  // and whoever sits in the middle sends everything back as if it came from the peer
      pair.lab.internet.on_core = [&](const Endpoint& from, const Endpoint& to, ByteView datagram) {
        if (from.port == StunServer::kPort || to.port == StunServer::kPort) return true;
        pair.lab.world.after(
            30ms, [&pair, from, to, copy = to_bytes(datagram)] { pair.lab.internet.inject(to, from, copy); });
        return true;
      };
    pair.run_until([&] { return pair.is_direct(); }, 12s);
    EXPECT_GT(reflected, 0u);
    EXPECT_EQ(pair.is_direct(), kind != NatKind::SymmetricRandom);
    expect_only_peers(pair);
    EXPECT_GT(pair.dialer().counters().unknown_packets, 0u);
    EXPECT_EQ(pair.finish(), "");
    expect_only_peers(pair);
  }
}
INSTANTIATE_TEST_SUITE_P(Boxes, Reflector,
                         testing::Combine(testing::Values(NatKind::FullCone, NatKind::PortRestricted,
                                                          NatKind::SymmetricRandom),
                                          testing::Bool()));

// In the middle of the path, and able to send with any sender's address.
struct Middle {
  explicit Middle(NatSession& session) : pair(session) {
    host = pair.lab.internet.add_host(kAttacker);
    pair.lab.internet.open_socket(host, kAttackersPort,
                                  [this](SocketId, const Endpoint&, ByteView) { ++heard; });
    pair.lab.internet.on_core = [this](const Endpoint& from, const Endpoint& to, ByteView datagram) {
      if (from.port == StunServer::kPort || to.port == StunServer::kPort || to.address == kAttacker)
        return true;
      return on_packet(from, to, datagram);
    };
  }
  void later(Duration wait, const Endpoint& from, const Endpoint& to, ByteView datagram) {
    pair.lab.world.after(wait, [this, from, to, copy = to_bytes(datagram)] {
      ++injected;
      pair.lab.internet.inject(from, to, copy);
    });
  }
  Duration some_time() {
    return Duration(static_cast<Duration::rep>(pair.lab.world.rng().below(2'000'000'000)));
  }
  const Endpoint self{kAttacker, kAttackersPort};
  NatSession& pair;
  HostId host;
  std::uint64_t heard = 0, injected = 0;
  std::function<bool(const Endpoint&, const Endpoint&, ByteView)> on_packet;
};

using Attack = void (*)(Middle&);

// Every datagram comes again, up to 2 s later: from where it came, from somebody else, and to somebody else.
void replay(Middle& middle) {
  middle.on_packet = [&middle](const Endpoint& from, const Endpoint& to, ByteView datagram) {
    middle.later(middle.some_time(), from, to, datagram);
    middle.later(middle.some_time(), middle.self, to, datagram);
    middle.later(middle.some_time(), {from.address, static_cast<std::uint16_t>(from.port + 1)}, to, datagram);
    return true;
  };
}

// Every datagram comes with a changed byte, too, and before it something that only looks right.
void forge(Middle& middle) {
  middle.on_packet = [&middle](const Endpoint& from, const Endpoint& to, ByteView datagram) {
    SeededRng& rng = middle.pair.lab.world.rng();
    Bytes changed = to_bytes(datagram);
    changed[rng.below(changed.size())] ^= static_cast<std::byte>(1 + rng.below(255));
    middle.later(0ms, from, to, changed);
    middle.later(0ms, middle.self, to, changed);
    Bytes noise(datagram.size());
    rng.fill(noise);
    std::copy_n(datagram.begin(), std::min<std::size_t>(13, noise.size()), noise.begin());
    middle.later(0ms, from, to, noise);
    return true;
  };
}

// The copy from the attacker's own address is first; the original comes late, or never.
void race(Middle& middle) {
  middle.on_packet = [&middle](const Endpoint& from, const Endpoint& to, ByteView datagram) {
    middle.later(0ms, middle.self, to, datagram);
    if (middle.pair.lab.world.rng().chance(0.5)) middle.later(20ms, from, to, datagram);
    return false;
  };
}

class InTheMiddle : public testing::TestWithParam<std::tuple<NatKind, Attack>> {};

TEST_P(InTheMiddle, NobodyBecomesADirectPathOrChangesAByte) {
  const auto [kind, attack] = GetParam();
  for (std::uint64_t seed = 1; seed <= seed_count(3); ++seed) {
    NatSessionOptions options;
    options.seed = seed;
    options.bytes = 1 << 20;
    options.write_bytes_per_second = 50e3;
    options.dialer_sends = seed % 2 == 0;
    options.dialer_box = options.listener_box = kind;
    NatSession pair(options);
    Middle middle(pair);
    attack(middle);
    pair.run_for(12s);
    EXPECT_GT(middle.injected, 10u);
    expect_only_peers(pair);
    // A copy of a datagram is answered where it came from; that is all it is good for.
    EXPECT_LE(middle.heard, 2 * 240 + 2 * 4 * 13 + middle.injected / 3);
    EXPECT_EQ(pair.finish(), "") << "seed " << seed;
    expect_only_peers(pair);
  }
}
INSTANTIATE_TEST_SUITE_P(Attacks, InTheMiddle,
                         testing::Combine(testing::Values(NatKind::OneToOne, NatKind::PortRestricted),
                                          testing::Values(replay, forge, race)));

// An honest listener, and a dialer that is none.
struct HostileWorld {
  explicit HostileWorld(std::uint64_t seed, NatKind box)
      : lab(seed),
        site(lab.add_site(2, box, {.delay = 10ms})),
        relay(lab.world, {.delay = 10ms}),
        content(1, 1) {
    Pairing pairing = make_pairing(lab.world.rng(), 1, lab.world.wall());
    HostOptions options;
    options.session = pairing.listener;
    options.udp = UdpOptions{.internet = &lab.internet,
                             .host = site.host,
                             .stun_servers = {lab.server.endpoint(0), lab.server.endpoint(1)},
                             .first_port = NatWorld::kPort};
    listener.emplace(lab.world, std::vector<Relay*>{&relay}, options, content);
    listener->start();
    lab.run(500ms);
    dialer.emplace(lab.world, relay, pairing.dialer);
    lab.world.run_until([&] { return dialer->has_claimed(); }, 10s);
    lab.run(200ms);
  }
  struct Sent {
    std::uint64_t packets = 0;
    std::uint64_t unreal = 0;   // to what is no host's address
    std::uint64_t unasked = 0;  // and to private ones elsewhere, and ports of services
  };
  // What left the listener, but not to STUN servers.
  Sent sent() const {
    Sent out;
    for (const auto& [to, count] : lab.internet.sent()) {
      if (to.port == StunServer::kPort || to.address == NatWorld::public_address(2)) continue;
      out.packets += count.packets;
      const auto first = std::to_integer<unsigned>(to.address.mapped()[12]);
      const bool own_broadcast = to.address == IpAddress::v4(192, 168, 12, 255);
      if (to.address.is_loopback() || to.address.is_link_local() || first == 0 || first >= 224 ||
          own_broadcast)
        out.unreal += count.packets;
      if (to.port < 1024 || to.address.is_private()) out.unasked += count.packets;
    }
    return out;
  }

  NatWorld lab;
  Site site;
  Relay relay;
  Content content;
  std::optional<Host> listener;
  std::optional<HostileDialer> dialer;
};

// A place that must never get a packet.
Endpoint forbidden_place(SeededRng& rng) {
  const auto byte = [&] { return static_cast<std::uint8_t>(rng.below(256)); };
  const auto port = static_cast<std::uint16_t>(1024 + rng.below(60'000));
  switch (rng.below(10)) {
    case 0:
      return {IpAddress::v4(127, 0, 0, 1), port};
    case 1:
      return {IpAddress::v4(0, byte(), byte(), byte()), port};
    case 2:
      return {IpAddress::v4(static_cast<std::uint8_t>(224 + rng.below(32)), byte(), byte(), byte()), port};
    case 3:
      return {IpAddress::v4(169, 254, 169, 254), port};
    case 4:
      return {IpAddress::v4(10, byte(), byte(), byte()), port};
    case 5:
      return {IpAddress::v4(192, 168, 99, byte()), port};
    case 6:
      return {IpAddress::v4(255, 255, 255, 255), port};
    case 7:
      return {IpAddress::v4(192, 168, 12, 255), port};  // of the listener's own network
    case 8:
      return {IpAddress::v4(172, 16, byte(), byte()), port};
    default:
      return {IpAddress::v4(8, 8, byte(), byte()), static_cast<std::uint16_t>(rng.below(1024))};
  }
}

TEST(HostilePeer, CannotAimAListenerAtThousandsOfOthers) {
  for (std::uint64_t seed = 1; seed <= seed_count(3); ++seed) {
    HostileWorld world(seed, NatKind::PortRestricted);
    SeededRng rng(seed);
    for (std::uint32_t i = 1; i <= 300; ++i) {  // a minute of lists, 9,600 candidates
      wire::CallMeMaybe call;
      call.round = call.attempt = i;
      call.mapping = wire::MappingBehaviour::Random;
      call.mode = static_cast<wire::PunchMode>(1 + rng.below(2));
      while (call.candidates.size() < wire::CallMeMaybe::kMaxCandidates) {
        const auto kind = static_cast<wire::CandidateKind>(1 + rng.below(4));
        const Endpoint to = rng.chance(0.5)
                                ? forbidden_place(rng)
                                : Endpoint{IpAddress::v4(8, static_cast<std::uint8_t>(rng.below(4)),
                                                         static_cast<std::uint8_t>(rng.below(256)), 7),
                                           static_cast<std::uint16_t>(1024 + rng.below(60'000))};
        call.candidates.push_back({kind, to});
      }
      world.dialer->say(call);
      world.lab.run(200ms);
    }
    const auto sent = world.sent();
    EXPECT_EQ(sent.unreal, 0u);
    EXPECT_EQ(sent.unasked, 0u);
    EXPECT_GT(sent.packets, 100u);
    EXPECT_LE(sent.packets, 240u + 4 * 61 + 12 + 7)
        << "small ones, and 12 full ones with one more every 10 s";
    EXPECT_EQ(world.listener->path_log().direct_ups, 0u);
  }
}

TEST(HostilePeer, CannotMakeAListenerSearchPortsOfAVictimForLong) {
  HostileWorld world(1, NatKind::PortRestricted);
  const Endpoint victim{IpAddress::v4(8, 8, 1, 1), 5000};
  for (std::uint32_t i = 1; i <= 300; ++i) {
    wire::CallMeMaybe call;
    call.round = call.attempt = i;
    call.mapping = wire::MappingBehaviour::Random;
    call.mode = wire::PunchMode::Birthday;
    call.candidates = {{wire::CandidateKind::ServerReflexive, victim}};
    world.dialer->say(call);
    world.lab.run(i % 10 == 0 ? 12s : 1s);
  }
  EXPECT_LE(world.lab.internet.packets_sent_to(victim.address), 3u * 1024);
  EXPECT_EQ(world.listener->path_log().direct_ups, 0u);
}

// Authentic pings with victims' addresses as their senders.
TEST(HostilePeer, GainsNextToNothingByPingingInOthersNames) {
  HostileWorld world(1, NatKind::OneToOne);
  SeededRng rng(1);
  constexpr unsigned kPings = 2000;
  const Endpoint listener{NatWorld::public_address(2), NatWorld::kPort};
  for (unsigned i = 0; i < kPings; ++i) {
    const Endpoint victim =
        i % 2 == 0 ? forbidden_place(rng)
                   : Endpoint{IpAddress::v4(8, 8, 1, static_cast<std::uint8_t>(rng.below(256))), 5000};
    world.lab.internet.inject(victim, listener, world.dialer->ping(listener));
    world.lab.run(5ms);
  }
  world.lab.run(10s);
  const auto sent = world.sent();
  EXPECT_GT(sent.packets, kPings / 2);
  EXPECT_LE(sent.packets, 2 * kPings + 240 + 4 * 21);
  EXPECT_EQ(sent.unreal, 0u);
  EXPECT_EQ(world.listener->path_log().direct_ups, 0u);
}

}  // namespace
}  // namespace dh::sim
