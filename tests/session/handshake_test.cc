#include <gtest/gtest.h>

#include "session/handshake_world.hh"

namespace dh::session {
namespace {

TEST(Handshake, OpensASessionInTwoRoundTrips) {
  World world(1);
  Dialer& dialer = world.dial();
  EXPECT_TRUE(world.run(85ms, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
  ASSERT_EQ(world.arrived.size(), 1u);
  EXPECT_EQ(world.arrived[0].claim, world.good_claim());
  EXPECT_EQ(world.arrived[0].from, dialer.derp.pub);
  EXPECT_TRUE(world.arrived[0].keys.exporter == dialer.keys->exporter);
  EXPECT_EQ(world.arrived[0].keys.transcript_hash, dialer.keys->transcript_hash);
  EXPECT_EQ(world.arrived[0].keys.local_index, dialer.keys->peer_index);
  EXPECT_EQ(world.arrived[0].keys.peer_index, dialer.keys->local_index);
  EXPECT_TRUE(export_key(*dialer.keys, "bulk") == export_key(world.arrived[0].keys, "bulk"));
  EXPECT_FALSE(export_key(*dialer.keys, "bulk") == export_key(*dialer.keys, "quic"));
  EXPECT_EQ(dialer.initiator->counters().sent, 1u);
  EXPECT_EQ(world.gate->counters().accepted, 1u);
  EXPECT_TRUE(world.gate->is_taken());
  EXPECT_EQ(world.gate->pending(), 0u);
}

TEST(Handshake, SurvivesLossDuplicationAndReordering) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, {.loss = 0.3, .duplicate = 0.2, .delay = 10ms, .jitter = 400ms});
    Dialer& dialer = world.dial();
    ASSERT_TRUE(world.run(60s, [&] {
      return dialer.answer<ClaimAccepted>() != nullptr && world.arrived[0].channel.all_acknowledged();
    }));
    ASSERT_EQ(world.arrived.size(), 1u);
    ASSERT_TRUE(world.arrived[0].keys.exporter == dialer.keys->exporter);
    world.run(ClaimGate::kPendingLifetime + 90s);  // stragglers change nothing
    ASSERT_EQ(world.arrived.size(), 1u);
    ASSERT_EQ(dialer.heard.size(), 1u);
    ASSERT_EQ(world.gate->counters().accepted, 1u);
    ASSERT_EQ(world.gate->counters().claims, 1u);
    ASSERT_EQ(world.gate->pending(), 0u);
    ASSERT_EQ(world.gate->counters().forged + world.gate->counters().bad_mac, 0u);
  }
}

TEST(Handshake, AListenerThatComesLateIsFoundByTheNextKnock) {
  World world(3);
  Dialer& dialer = world.dial();
  bool absent = true;
  world.tamper = [&](auto&, auto& to, auto&) { return to != world.derp_key.pub || !absent; };
  world.run(5s);
  absent = false;
  EXPECT_TRUE(world.run(2300ms, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
}

TEST(Handshake, PeerGoneBringsTheNextKnockForwardOncePerSecond) {
  World world(4, {.loss = 1.0});
  Dialer& dialer = world.dial();
  world.run(8s);  // the wait has grown to two seconds
  const auto sent = dialer.initiator->counters().sent;
  dialer.initiator->on_timeout(*dialer.initiator->next_timeout());
  world.now = world.now + 10s;
  dialer.initiator->on_timeout(world.now);
  const Instant regular = *dialer.initiator->next_timeout();
  EXPECT_GE(regular, world.now + 2s);
  EXPECT_EQ(dialer.initiator->counters().sent, sent + 2);
  dialer.initiator->on_peer_gone(world.now);
  EXPECT_EQ(*dialer.initiator->next_timeout(), world.now + 300ms);
  world.now += 300ms;
  dialer.initiator->on_timeout(world.now);
  dialer.initiator->on_peer_gone(world.now);
  EXPECT_GE(*dialer.initiator->next_timeout(), world.now + 2s);
}

TEST(Handshake, KnocksWithAFreshEphemeralAndGrowingWaits) {
  World world(5, {.loss = 1.0});
  world.dial();
  world.run(20s);
  std::vector<PublicKey> ephemerals;
  for (const auto& packet : world.sent) {
    const auto m1 = wire::HandshakeM1::parse(packet.bytes);
    ASSERT_TRUE(m1);
    for (const PublicKey& earlier_key : ephemerals) EXPECT_NE(m1->ephemeral(), earlier_key);
    ephemerals.push_back(m1->ephemeral());
  }
  // 0, .25, .62, 1.2, 2.0, 3.3, then every 2 to 2.2 s.
  EXPECT_GE(ephemerals.size(), 12u);
  EXPECT_LE(ephemerals.size(), 15u);
}

TEST(Handshake, TheLastFourAttemptsAreStillGood) {
  World world(6);
  Dialer& dialer = world.dial();
  std::vector<Bytes> answers;
  world.tamper = [&](auto& from, auto&, Bytes& bytes) {
    if (from != world.derp_key.pub || answers.size() == 4) return true;
    answers.push_back(bytes);
    return false;
  };
  world.run(1300ms, [&] { return answers.size() == 4; });
  ASSERT_EQ(answers.size(), 4u);
  world.deliver(world.derp_key.pub, dialer.derp.pub, answers[0]);
  EXPECT_EQ(dialer.initiator->state(), InitiatorState::Done);
  EXPECT_TRUE(world.run(1s, [&] { return dialer.answer<ClaimAccepted>() != nullptr; }));
}

}  // namespace
}  // namespace dh::session
