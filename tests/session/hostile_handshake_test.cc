// One rule broken per test; each has one exact outcome.

#include <gtest/gtest.h>

#include "crypto/hash.hh"
#include "session/handshake_world.hh"

namespace dh::session {
namespace {

bool is_m1(ByteView bytes) {
  return bytes.size() == wire::HandshakeM1::kSize && bytes[0] == std::byte{0x54};
}
bool is_m2(ByteView bytes) {
  return !bytes.empty() && bytes[0] == std::byte{wire::HandshakeM2::kType};
}
bool is_control(ByteView bytes) {
  return wire::control_receiver_index(bytes).has_value();
}

// An M1 with a good mac1 and rubbish behind it: what somebody makes who knows the listener's key.
Bytes rubbish_m1(World& world, const PublicKey& from) {
  wire::HandshakeM1 m1;
  m1.initiator_derp = from;
  world.rng.fill(m1.noise);
  m1.mac1 = blake2b_mac(mac1_key(world.token.listener_noise),
                        ByteView(m1.serialize()).first(wire::HandshakeM1::kMac1At));
  return m1.serialize();
}

std::optional<RejectReason> rejection(const Dialer& dialer) {
  const auto* rejected = dialer.answer<wire::ClaimRejected>();
  return rejected ? std::optional(rejected->reason) : std::nullopt;
}

TEST(HostileHandshake, AWrongPskIsToldToTheDialerAfterTwoSeconds) {
  World world(1);
  Token wrong = world.token;
  wrong.psk.expose_mutable()[5] ^= std::byte{1};
  Dialer& dialer = world.dial(wrong, world.good_claim());
  EXPECT_FALSE(world.run(2039ms, [&] { return dialer.wrong_credentials; }));
  EXPECT_TRUE(world.run(2ms, [&] { return dialer.wrong_credentials; }));
  EXPECT_EQ(dialer.initiator->state(), InitiatorState::Refused);
  EXPECT_FALSE(dialer.initiator->next_timeout());
  EXPECT_EQ(world.gate->counters().claims, 0u);
  EXPECT_FALSE(world.gate->is_taken());
  world.run(ClaimGate::kPendingLifetime + 10s);
  EXPECT_EQ(world.gate->pending(), 0u);
}

TEST(HostileHandshake, AWrongListenerKeyMeetsSilence) {
  World world(2);
  Token wrong = world.token;
  wrong.listener_noise = KeyPair::generate(world.rng).pub;
  Dialer& dialer = world.dial(wrong, world.good_claim());
  world.run(10s);
  EXPECT_FALSE(dialer.wrong_credentials);
  EXPECT_EQ(world.gate->counters().bad_mac, dialer.initiator->counters().sent);
  EXPECT_EQ(world.gate->counters().m2_sent, 0u);
}

TEST(HostileHandshake, AnotherPrologueMeetsSilence) {
  const std::function<void(Token&)> changes[] = {
      [](Token& t) { t.expires += 1s; },
      [](Token& t) { t.capabilities = static_cast<std::uint32_t>(Capability::Share); },
      [](Token& t) { t.session_id[0] ^= std::byte{1}; },
      [](Token& t) { t.listener_derp.bytes[0] ^= std::byte{1}; },
      [](Token& t) { std::swap(t.relays[0], t.relays[1]); },
  };
  for (const auto& change : changes) {
    World world(3);
    Token wrong = world.token;
    change(wrong);
    Dialer& dialer = world.dial(wrong, world.good_claim());
    world.run(5s);
    EXPECT_FALSE(dialer.wrong_credentials || dialer.keys);
    EXPECT_EQ(world.gate->counters().forged, dialer.initiator->counters().sent);
    EXPECT_EQ(world.gate->counters().m2_sent, 0u);
  }
}

TEST(HostileHandshake, EveryAlteredByteOfM1MeetsSilence) {
  World world(4);
  world.dial();
  world.drain();
  const Bytes m1 = world.sent.at(0).bytes;
  const PublicKey from = world.sent.at(0).from;
  const std::string name = relay_name(world.token.relays[0]);
  for (std::size_t i = 0; i < m1.size() - 16; ++i) {  // mac2 does not count until there is load
    Bytes altered = m1;
    altered[i] ^= std::byte{1};
    EXPECT_FALSE(world.gate->on_packet(name, from, altered, world.now, kWall)) << i;
  }
  for (std::size_t size = 0; size < m1.size(); ++size)
    EXPECT_FALSE(world.gate->on_packet(name, from, ByteView(m1).first(size), world.now, kWall)) << size;
  EXPECT_FALSE(world.gate->poll_packet());
  EXPECT_EQ(world.gate->pending(), 0u);
  EXPECT_TRUE(world.gate->on_packet(name, from, m1, world.now, kWall));
}

TEST(HostileHandshake, EveryAlteredByteOfM2IsIgnoredAndTheGoodOneStillWins) {
  World world(5);
  Dialer& dialer = world.dial();
  Bytes m2;
  world.tamper = [&](auto&, auto&, Bytes& bytes) {
    if (m2.empty() && is_m2(bytes)) return m2 = bytes, false;
    return true;
  };
  world.run(100ms, [&] { return !m2.empty(); });
  for (std::size_t i = 0; i < m2.size(); ++i) {
    Bytes altered = m2;
    altered[i] ^= std::byte{1};
    world.deliver(world.derp_key.pub, dialer.derp.pub, altered);
    EXPECT_EQ(dialer.initiator->state(), InitiatorState::Knocking) << i;
    world.deliver(world.derp_key.pub, dialer.derp.pub, ByteView(m2).first(i));
  }
  EXPECT_EQ(dialer.initiator->counters().refused, 0u) << "a relay cannot fake wrong credentials";
  world.deliver(world.derp_key.pub, dialer.derp.pub, m2);
  EXPECT_EQ(dialer.initiator->state(), InitiatorState::Done);
}

TEST(HostileHandshake, EveryAlteredByteOfM3AndM4IsIgnored) {
  for (const bool towards_listener : {true, false}) {
    World world(6);
    Dialer& dialer = world.dial();
    std::size_t at = 0, altered_packets = 0;
    world.tamper = [&](auto&, auto& to, Bytes& bytes) {
      if (!is_control(bytes) || (to == world.derp_key.pub) != towards_listener) return true;
      if (at >= bytes.size() || altered_packets > 2000) return true;
      const Bytes good = bytes;
      for (at = 0; at < good.size(); ++at, ++altered_packets) {
        Bytes altered = good;
        altered[at] ^= std::byte{1};
        world.deliver(towards_listener ? dialer.derp.pub : world.derp_key.pub, to, altered);
        if (towards_listener) {
          EXPECT_EQ(world.gate->counters().claims, 0u) << at;
        } else {
          EXPECT_TRUE(dialer.heard.empty()) << at;
        }
      }
      return true;
    };
    EXPECT_TRUE(world.run(5s, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
    EXPECT_GT(altered_packets, 40u);
    EXPECT_EQ(world.gate->counters().accepted, 1u);
  }
}

TEST(HostileHandshake, AReplayedM1CostsOneTableLookUp) {
  World world(7);
  world.dial();
  world.run(5s);
  const std::uint64_t answered = world.gate->counters().m2_sent;
  const auto sent = world.sent;
  for (int round = 0; round < 100; ++round) {
    for (const auto& packet : sent)
      if (is_m1(packet.bytes)) world.deliver(packet.from, packet.to, packet.bytes);
  }
  EXPECT_EQ(world.gate->counters().m2_sent, answered);
  EXPECT_EQ(world.gate->counters().replayed, 100u);
  EXPECT_EQ(world.gate->counters().accepted, 1u);
  EXPECT_FALSE(world.gate->poll_packet());
}

TEST(HostileHandshake, AReplayForAnotherRoutingKeyMeetsSilence) {
  World world(8);
  world.dial();
  world.drain();
  const Bytes m1 = world.sent.at(0).bytes;
  world.deliver(filled_key(9), world.derp_key.pub, m1);
  EXPECT_EQ(world.gate->counters().wrong_sender, 1u);
  EXPECT_FALSE(world.gate->poll_packet());
}

TEST(HostileHandshake, AnUnknownRelayIsIgnored) {
  World world(9);
  world.dial();
  world.drain();
  world.gate->on_packet("elsewhere:443", world.sent[0].from, world.sent[0].bytes, world.now, kWall);
  EXPECT_EQ(world.gate->counters().wrong_relay, 1u);
  EXPECT_FALSE(world.gate->poll_packet());
}

TEST(HostileHandshake, BadClaimsAreToldWhy) {
  const auto outcome = [](Claim claim, UnixSeconds wall) {
    World world(10);
    world.wall_at_start = wall;
    Dialer& dialer = world.dial(world.token, claim);
    world.run(5s);
    EXPECT_TRUE(world.arrived.empty());
    EXPECT_FALSE(world.gate->is_taken());
    EXPECT_EQ(world.gate->pending(), 0u) << "the refusal is acknowledged and forgotten";
    EXPECT_EQ(world.gate->counters().rejected, 1u);
    return rejection(dialer);
  };
  const Claim good = World(10).good_claim();
  Claim claim = good;
  claim.protocol_version = 2;
  EXPECT_EQ(outcome(claim, kWall), RejectReason::WrongVersion);
  claim = good;
  claim.capability = static_cast<std::uint32_t>(Capability::Share);
  EXPECT_EQ(outcome(claim, kWall), RejectReason::WrongCapability);
  claim.capability = good.capability | static_cast<std::uint32_t>(Capability::Share);
  EXPECT_EQ(outcome(claim, kWall), RejectReason::WrongCapability);
  claim.capability = 0;
  EXPECT_EQ(outcome(claim, kWall), RejectReason::WrongCapability);
  EXPECT_EQ(outcome(good, sample_token().expires), RejectReason::Expired);
}

TEST(HostileHandshake, ASecondClaimIsToldTheSessionIsTaken) {
  World world(11);
  Dialer& first = world.dial();
  ASSERT_TRUE(world.run(5s, [&] { return first.answer<ClaimAccepted>() != nullptr; }));
  Dialer& second = world.dial();
  ASSERT_TRUE(world.run(5s, [&] { return rejection(second).has_value(); }));
  EXPECT_EQ(rejection(second), RejectReason::AlreadyClaimed);
  EXPECT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(world.arrived[0].from, first.derp.pub);
}

TEST(HostileHandshake, TwoClaimsAtOnceGiveOneSessionWhateverTheNetworkDoes) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, {.loss = 0.25, .duplicate = 0.25, .delay = 5ms, .jitter = 300ms});
    Dialer& a = world.dial();
    Dialer& b = world.dial();
    ASSERT_TRUE(world.run(60s, [&] { return !a.heard.empty() && !b.heard.empty(); }));
    ASSERT_EQ(world.arrived.size(), 1u);
    Dialer& winner = a.answer<ClaimAccepted>() ? a : b;
    Dialer& loser = &winner == &a ? b : a;
    ASSERT_NE(winner.answer<ClaimAccepted>(), nullptr);
    ASSERT_EQ(rejection(loser), RejectReason::AlreadyClaimed);
    ASSERT_EQ(world.arrived[0].from, winner.derp.pub);
  }
}

TEST(HostileHandshake, AWaitingClaimGetsItsTurnAfterANo) {
  World world(12);
  world.auto_accept = false;
  Dialer& first = world.dial();
  world.run(60ms);
  Dialer& second = world.dial();
  world.run(500ms);
  ASSERT_EQ(world.arrived.size(), 1u);
  world.gate->reject(std::move(world.arrived[0]), RejectReason::Declined, world.now);
  world.arrived.clear();
  world.run(500ms);
  EXPECT_EQ(rejection(first), RejectReason::Declined);
  ASSERT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(world.arrived[0].from, second.derp.pub);
  world.accept(world.arrived[0]);
  world.run(500ms);
  EXPECT_NE(second.answer<ClaimAccepted>(), nullptr);
}

TEST(HostileHandshake, AWaitingClaimIsToldBusyWhenNobodyDecides) {
  World world(13);
  world.auto_accept = false;
  world.dial();
  world.run(60ms);
  Dialer& second = world.dial();
  world.run(11s);
  EXPECT_EQ(rejection(second), RejectReason::Busy);
}

TEST(HostileHandshake, AReleasedSlotServesTheNextDialer) {
  World world(14);
  Dialer& first = world.dial();
  world.run(1s);
  ASSERT_NE(first.answer<ClaimAccepted>(), nullptr);
  world.gate->release(world.arrived[0].keys.local_index);
  Dialer& second = world.dial();
  world.run(1s);
  EXPECT_NE(second.answer<ClaimAccepted>(), nullptr);
}

TEST(HostileHandshake, ReflectedMessagesAreIgnored) {
  World world(15);
  Dialer& dialer = world.dial();
  world.tamper = [&](auto& from, auto& to, Bytes& bytes) {
    world.deliver(to, from, bytes);  // back to its sender, too
    return true;
  };
  EXPECT_TRUE(world.run(5s, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
  EXPECT_EQ(dialer.heard.size(), 1u);
  EXPECT_EQ(world.gate->counters().accepted, 1u);
}

TEST(HostileHandshake, SwappedSessionsAreIgnored) {
  World world(16, {}, 2);
  Dialer& a = world.dial();
  Dialer& b = world.dial();
  // Everything for one dialer goes to the other as well, under its own index.
  world.tamper = [&](auto&, auto& to, Bytes& bytes) {
    if (to == world.derp_key.pub || !is_control(bytes)) return true;
    Dialer& other = to == a.derp.pub ? b : a;
    Bytes swapped = bytes;
    if (other.keys) store_be32(swapped.data() + 1, other.keys->local_index);
    world.deliver(world.derp_key.pub, other.derp.pub, swapped);
    return true;
  };
  world.run(5s);
  EXPECT_NE(a.answer<ClaimAccepted>(), nullptr);
  EXPECT_NE(b.answer<ClaimAccepted>(), nullptr);
  EXPECT_EQ(a.heard.size() + b.heard.size(), 2u);
  EXPECT_EQ(world.arrived.size(), 2u);
  EXPECT_GT(a.channel->counters().forged + b.channel->counters().forged, 0u);
}

TEST(HostileHandshake, AnM3OfAnotherSessionTakesNothing) {
  World world(17);
  Dialer& a = world.dial();
  Bytes claim_of_a;
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    if (from != a.derp.pub || !is_control(bytes)) return true;
    claim_of_a = bytes;
    return false;
  };
  world.run(1s, [&] { return !claim_of_a.empty(); });
  ASSERT_FALSE(claim_of_a.empty());
  Dialer& b = world.dial();
  world.run(5s, [&] { return b.answer<ClaimAccepted>() != nullptr; });
  ASSERT_EQ(world.arrived.size(), 1u);
  Bytes moved = claim_of_a;
  store_be32(moved.data() + 1, b.keys->peer_index);
  world.deliver(b.derp.pub, world.derp_key.pub, moved);
  EXPECT_EQ(world.arrived[0].channel.counters().forged, 1u);
  world.run(100ms);
  EXPECT_TRUE(world.listener_heard.empty());
}

TEST(HostileHandshake, AFirstMessageThatIsNoClaimEndsTheHandshake) {
  World world(18);
  Dialer& dialer = world.dial();
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    return from != dialer.derp.pub || !is_control(bytes);
  };
  world.run(1s, [&] { return dialer.keys.has_value(); });
  ASSERT_TRUE(dialer.keys);
  world.tamper = nullptr;
  dialer.channel.reset();
  ControlChannel rude(*dialer.keys);
  rude.send(wire::serialize(wire::Close{0, ""}), world.now);
  world.deliver(dialer.derp.pub, world.derp_key.pub, *rude.poll_packet(world.now));
  EXPECT_EQ(world.gate->counters().protocol_errors, 1u);
  EXPECT_EQ(world.gate->pending(), 0u);
  EXPECT_FALSE(world.gate->is_taken());
}

TEST(HostileHandshake, RetransmissionsOfTheAcceptedDialerDisturbNothing) {
  World world(19);
  Dialer& dialer = world.dial();
  world.run(1s);
  ASSERT_NE(dialer.answer<ClaimAccepted>(), nullptr);
  const auto sent = world.sent;
  for (const auto& packet : sent) world.deliver(packet.from, packet.to, packet.bytes);
  world.run(20s);
  EXPECT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(dialer.heard.size(), 1u);
  dialer.channel->send(wire::serialize(wire::Ping{}), world.now);
  world.run(1s);
  EXPECT_EQ(world.listener_heard.size(), 1u);
  EXPECT_TRUE(dialer.channel->all_acknowledged());
}

TEST(HostileHandshake, ALostM4IsSentAgain) {
  World world(20);
  Dialer& dialer = world.dial();
  int lost = 0;
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    return from != world.derp_key.pub || !is_control(bytes) || ++lost > 3;
  };
  EXPECT_TRUE(world.run(10s, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
  EXPECT_EQ(world.gate->counters().accepted, 1u);
}

enum class Flood { NoMac, Rubbish, Replay, ManyKeys };

// 10,000 bad M1s in two seconds around one honest dialer.
void survive(Flood flood, std::uint64_t seed) {
  World world(seed, {.delay = 10ms});
  std::vector<Bytes> captured;
  std::vector<PublicKey> captured_from;
  if (flood == Flood::Replay) {
    World::Packet packet;
    for (int i = 0; i < 20; ++i) world.dial();
    world.run(15s);
    for (const auto& p : world.sent) {
      if (!is_m1(p.bytes)) continue;
      captured.push_back(p.bytes);
      captured_from.push_back(p.from);
    }
    world.gate->release(world.arrived.at(0).keys.local_index);
    world.arrived.clear();
    world.sent.clear();
    world.dialers.clear();
    world.flying.clear();
  }
  const PublicKey attacker = KeyPair::generate(world.rng).pub;
  Dialer* honest = nullptr;
  std::size_t most_pending = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (i == 5'000) honest = &world.dial();
    switch (flood) {
      case Flood::NoMac: {
        Bytes packet = rubbish_m1(world, attacker);
        packet[160] ^= std::byte{1};
        world.deliver(attacker, world.derp_key.pub, packet);
        break;
      }
      case Flood::Rubbish:
        world.deliver(attacker, world.derp_key.pub, rubbish_m1(world, attacker));
        break;
      case Flood::ManyKeys: {
        const PublicKey key = filled_key(static_cast<unsigned>(i % 251));
        world.deliver(key, world.derp_key.pub, rubbish_m1(world, key));
        break;
      }
      case Flood::Replay:
        world.deliver(captured_from[static_cast<std::size_t>(i) % captured.size()], world.derp_key.pub,
                      captured[static_cast<std::size_t>(i) % captured.size()]);
        break;
    }
    world.run(200us);
    most_pending = std::max(most_pending, world.gate->pending());
  }
  EXPECT_TRUE(honest->answer<ClaimAccepted>() != nullptr ||
              world.run(1s, [&] { return honest->answer<ClaimAccepted>() != nullptr; }));
  EXPECT_EQ(world.arrived.size(), 1u);
  EXPECT_LE(most_pending, ClaimGate::kMaxPending);
  EXPECT_EQ(world.gate->counters().overflow, 0u);
  switch (flood) {
    case Flood::NoMac:
      EXPECT_EQ(world.gate->counters().bad_mac, 10'000u);
      EXPECT_EQ(world.gate->counters().cookies_sent, 0u);
      break;
    case Flood::Rubbish:
    case Flood::ManyKeys:
      EXPECT_LE(world.gate->counters().forged, 200u) << "curve operations are rationed";
      EXPECT_GT(world.gate->counters().cookies_sent, 9'000u);
      EXPECT_EQ(honest->initiator->counters().cookies, 1u);
      break;
    case Flood::Replay:
      EXPECT_GE(world.gate->counters().replayed, 10'000u);
      break;
  }
}

TEST(HandshakeFlood, StrangersWithoutMac) {
  survive(Flood::NoMac, 31);
}
TEST(HandshakeFlood, RubbishWithAGoodMac) {
  survive(Flood::Rubbish, 32);
}
TEST(HandshakeFlood, RubbishFromManyRoutingKeys) {
  survive(Flood::ManyKeys, 33);
}
TEST(HandshakeFlood, ReplayedM1s) {
  survive(Flood::Replay, 34);
}

TEST(HandshakeFlood, OneSenderCannotPushOutAnother) {
  World world(35, {.delay = 100ms});
  world.auto_accept = false;
  Dialer& honest = world.dial();
  world.run(150ms);  // its M2 is under way
  ASSERT_EQ(world.gate->pending(), 1u);
  // A holder of the token knocks on and on from one routing key and never claims.
  const KeyPair greedy = KeyPair::generate(world.rng);
  for (int i = 0; i < 300; ++i) {
    Initiator initiator({world.token, greedy.pub, relay_name(world.token.relays[0]), world.good_claim()},
                        world.now, kWall, world.rng);
    world.deliver(greedy.pub, world.derp_key.pub, *initiator.poll_packet());
  }
  EXPECT_LE(world.gate->pending(), 1 + ClaimGate::kMaxPendingPerSender);
  world.run(2s);
  EXPECT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(world.arrived.at(0).from, honest.derp.pub);
  EXPECT_GT(world.gate->counters().limited + world.gate->counters().cookies_sent, 250u);
}

TEST(HostileHandshake, ARelayThatHoldsBackEveryClaimForTenMinutesOnlyDelaysIt) {
  World world(38);
  bool held = true;
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    return !held || from == world.derp_key.pub || !is_control(bytes);
  };
  Dialer& dialer = world.dial();
  world.run(10min);
  EXPECT_EQ(world.gate->counters().claims, 0u);
  EXPECT_EQ(world.gate->counters().m1_received, 1u) << "it has its keys and knocks no more";
  held = false;
  EXPECT_TRUE(world.run(2s + 100ms, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
}

TEST(HandshakeFlood, IdleHandshakesAreNoLoadAndMakeRoomFirst) {
  World world(39);
  bool held = true;
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    return !held || from == world.derp_key.pub || !is_control(bytes);
  };
  for (std::size_t i = 0; i < ClaimGate::kMaxPending; ++i) {
    world.dial();
    world.run(100ms);
  }
  EXPECT_EQ(world.gate->pending(), ClaimGate::kMaxPending);
  EXPECT_EQ(world.gate->counters().cookies_sent, 0u);
  world.run(ClaimGate::kIdleAfter);
  Dialer& newcomer = world.dial();
  world.run(1s);
  EXPECT_EQ(world.gate->counters().cookies_sent, 0u)
      << "nothing happens here, so nobody has to prove anything";
  EXPECT_EQ(world.gate->counters().evicted, 1u);
  EXPECT_EQ(world.gate->pending(), ClaimGate::kMaxPending);
  held = false;  // the one that gave way was the oldest; whoever claims first now is served
  EXPECT_TRUE(world.run(5s, [&] { return !world.arrived.empty(); }));
  EXPECT_NE(world.arrived[0].from, world.dialers[0]->derp.pub);
  EXPECT_TRUE(newcomer.keys.has_value());
}

TEST(HandshakeFlood, PendingHandshakesEndAfterTheirLifetime) {
  World world(36);
  world.tamper = [](auto&, auto&, Bytes& bytes) { return !is_m2(bytes); };
  Dialer& dialer = world.dial();
  world.run(ClaimGate::kPendingLifetime - 1s);
  EXPECT_LE(world.gate->pending(), ClaimGate::kMaxPendingPerSender);
  dialer.initiator.reset(
      new Initiator({world.token, dialer.derp.pub, "x:1", {}}, world.now, kWall, world.rng));
  world.tamper = [](auto&, auto&, Bytes&) { return false; };
  world.run(ClaimGate::kPendingLifetime + 1s);
  EXPECT_EQ(world.gate->pending(), 0u);
  EXPECT_GT(world.gate->counters().timed_out, 0u);
}

TEST(Cookies, AreBoundToTheRoutingKeyAndDieWithTheSecret) {
  SeededRng rng(37);
  const KeyPair listener = KeyPair::generate(rng);
  Instant now{};
  CookieJar jar(listener.pub, now, rng);
  wire::HandshakeM1 m1;
  rng.fill(m1.mac1);
  const auto reply = jar.reply(filled_key(1), m1, now);
  const auto cookie = open_cookie(cookie_key(listener.pub), reply, m1.mac1);
  ASSERT_TRUE(cookie);
  EXPECT_FALSE(open_cookie(cookie_key(filled_key(3)), reply, m1.mac1));
  EXPECT_FALSE(open_cookie(cookie_key(listener.pub), reply, wire::HandshakeMac{}));
  m1.mac2 = make_mac2(*cookie, m1.serialize());
  EXPECT_TRUE(jar.verify(filled_key(1), m1.serialize(), now));
  EXPECT_FALSE(jar.verify(filled_key(2), m1.serialize(), now));
  EXPECT_TRUE(jar.verify(filled_key(1), m1.serialize(), now + 119s));
  EXPECT_FALSE(jar.verify(filled_key(1), m1.serialize(), now + 120s));
}

TEST(KnockLimits, TablesAreBounded) {
  KnockLimits limits;
  SeededRng rng(38);
  const PublicKey first = KeyPair::generate(rng).pub;
  limits.remember(first);
  EXPECT_TRUE(limits.seen(first));
  for (std::size_t i = 0; i < KnockLimits::kSeenEphemerals; ++i) {
    PublicKey key;
    rng.fill(key.bytes);
    limits.remember(key);
    limits.sender_may(key, Instant{});
  }
  EXPECT_FALSE(limits.seen(first));
  unsigned allowed = 0;
  for (int i = 0; i < 100; ++i) allowed += limits.sender_may(first, Instant{}) ? 1 : 0;
  EXPECT_EQ(allowed, KnockLimits::kPerSenderBurst);
  EXPECT_TRUE(limits.sender_may(first, Instant{} + 100ms));
  EXPECT_FALSE(limits.sender_may(first, Instant{} + 100ms));
}

}  // namespace
}  // namespace dh::session
