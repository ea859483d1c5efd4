// Round trips, losses, rates, windows, pacing and keys, each alone.

#include <cmath>

#include <gtest/gtest.h>

#include "base/rng.hh"
#include "bulk/cubic.hh"
#include "bulk/keys.hh"
#include "bulk/limits.hh"
#include "bulk/loss_detector.hh"
#include "bulk/pacer.hh"
#include "bulk/relay_window.hh"

namespace dh::bulk {
namespace {

TEST(RttEstimator, LeavesOutTheNapOfAFrozenHost) {
  RttEstimator rtt(50ms);
  const Instant start(1s);
  rtt.update(40ms, 0ms, start);
  rtt.update(600s, 0ms, start + 600s);
  rtt.update(5s, 0ms, start + 600s);
  rtt.update(4900ms, 0ms, start + 601s);
  EXPECT_EQ(rtt.smoothed(), 40ms);
  rtt.update(4900ms, 0ms, start + 602s);  // it goes on: the path has changed
  EXPECT_GT(rtt.smoothed(), 500ms);
}

TEST(RttEstimator, FollowsRfc9002) {
  RttEstimator rtt(100ms);
  EXPECT_EQ(rtt.pto(), 100ms + 200ms + kMaxAckDelay);
  rtt.update(40ms, 0ms, Instant{});
  EXPECT_EQ(rtt.smoothed(), Duration(40ms));
  EXPECT_EQ(rtt.variation(), Duration(20ms));
  rtt.update(60ms, 5ms, Instant{});  // 55 ms after the peer's delay
  EXPECT_EQ(rtt.min(), Duration(40ms));
  EXPECT_EQ(rtt.variation(), Duration(18'750us));
  EXPECT_EQ(rtt.smoothed(), Duration(41'875us));
  rtt.update(41ms, 5ms, Instant{});  // would fall below the minimum: taken as it is
  EXPECT_EQ(rtt.smoothed(), (7 * Duration(41'875us) + Duration(41ms)) / 8);
}

TEST(RttEstimator, BacksOffToOneSecondOnly) {
  RttEstimator rtt(50ms);
  EXPECT_EQ(rtt.pto_after(0), rtt.pto());
  EXPECT_EQ(rtt.pto_after(1), 2 * rtt.pto());
  EXPECT_EQ(rtt.pto_after(10), Duration(kMaxPtoBackoff));
  EXPECT_EQ(rtt.pto_after(4'000'000'000u), Duration(kMaxPtoBackoff));
}

struct Losses {
  SentPackets packets;
  LossDetector detector;
  RttEstimator rtt{80ms};
  std::vector<std::uint64_t> lost;

  void send(int count, Instant at) {
    for (int i = 0; i < count; ++i) {
      SentPacket& packet = packets.push();
      packet.state = PacketState::Outstanding;
      packet.sequence = packets.end() - 1;
      packet.sent_at = at;
    }
  }
  void detect(std::uint64_t largest, Instant now, bool is_fast = false) {
    packets[largest].state = PacketState::Acked;
    detector.detect(packets, largest, rtt, is_fast, now,
                    [this](const SentPacket& packet) { lost.push_back(packet.sequence); });
  }
};

TEST(LossDetector, CountsThreePacketsThenWaitsNineEighthsOfTheRtt) {
  Losses l;
  l.rtt.update(80ms, 0ms, Instant{});
  const Instant start(1s);
  l.send(5, start);
  l.detect(4, start + 80ms);
  EXPECT_EQ(l.lost, (std::vector<std::uint64_t>{0, 1}));
  EXPECT_EQ(l.detector.next_check(), start + 90ms);
  l.detect(4, start + 90ms - 1ns);
  EXPECT_EQ(l.lost.size(), 2u);
  l.detect(4, start + 90ms);
  EXPECT_EQ(l.lost.size(), 4u);
  EXPECT_FALSE(l.detector.next_check());
}

TEST(LossDetector, OnAFastPathACountAloneIsNotEnough) {
  Losses l;
  l.rtt.update(16ms, 0ms, Instant{});
  const Instant start(1s);
  l.send(10, start);
  l.detect(9, start + 1ms, true);
  EXPECT_TRUE(l.lost.empty());
  EXPECT_EQ(l.detector.next_check(), start + 2ms);
  l.detect(9, start + 2ms, true);
  EXPECT_EQ(l.lost.size(), 7u);
}

TEST(LossDetector, WidensWhatCondemnedAPacketThatWasAlive) {
  LossDetector detector;
  RttEstimator rtt(80ms);
  detector.on_spurious(10, 30, 100);
  EXPECT_EQ(detector.packet_threshold(), 21u);
  detector.on_spurious(10, 500, 100);
  EXPECT_EQ(detector.packet_threshold(), 50u);  // half a window at most
  EXPECT_EQ(detector.time_threshold(rtt), Duration(90ms));
  detector.on_spurious(10, 11, 100);  // time was too short
  EXPECT_EQ(detector.time_threshold(rtt), Duration(100ms));
  for (int i = 0; i < 10; ++i) detector.on_spurious(10, 11, 100);
  EXPECT_EQ(detector.time_threshold(rtt), Duration(160ms));  // two rtts at most
}

AckBatch batch(Instant now, std::uint64_t bytes, Duration rtt) {
  AckBatch b;
  b.now = now;
  b.acked_bytes = bytes;
  b.smoothed_rtt = b.min_rtt = rtt;
  b.rtt_sample = rtt;
  b.window_limited = true;
  return b;
}
LossBatch loss(Instant now, Instant sent_at, std::uint64_t packets = 1) {
  LossBatch b;
  b.now = now;
  b.newest_sent_at = sent_at;
  b.lost_packets = packets;
  b.lost_bytes = packets * 1000;
  return b;
}

TEST(Cubic, DoublesInSlowStartAndCutsToSevenTenthsOncePerEvent) {
  Cubic cubic({.datagram_bytes = 1000, .initial_packets = 32, .initial_rtt = 50ms});
  EXPECT_EQ(cubic.window_bytes(), 32'000u);
  EXPECT_NEAR(cubic.pacing_rate(), 2 * 32'000 / 0.05, 1);
  cubic.on_ack_batch(batch(Instant(1s), 32'000, 50ms));
  EXPECT_EQ(cubic.window_bytes(), 64'000u);
  AckBatch idle = batch(Instant(1s), 32'000, 50ms);
  idle.window_limited = false;
  cubic.on_ack_batch(idle);
  EXPECT_EQ(cubic.window_bytes(), 64'000u);  // not used: not grown
  cubic.on_lost(loss(Instant(2s), Instant(1900ms)));
  EXPECT_EQ(cubic.window_bytes(), 44'800u);
  EXPECT_FALSE(cubic.in_slow_start());
  cubic.on_lost(loss(Instant(2s) + 10ms, Instant(1950ms)));
  EXPECT_EQ(cubic.window_bytes(), 44'800u);  // the same event
  cubic.on_lost(loss(Instant(3s), Instant(2500ms)));
  EXPECT_NEAR(static_cast<double>(cubic.window_bytes()), 31'360, 1);
}

TEST(Cubic, FollowsTheCubicOfRfc9438) {
  Cubic cubic({.datagram_bytes = 1000, .initial_packets = 1000, .initial_rtt = 200ms});
  const Duration rtt = 200ms;
  cubic.on_lost(loss(Instant(1s), Instant(900ms)));
  ASSERT_EQ(cubic.window_bytes(), 700'000u);
  // W(t) = 0.4 (t - K)^3 + 1000 segments, K = cbrt(300 / 0.4); far above what Reno reaches here.
  const double k = std::cbrt(300 / 0.4);
  for (int i = 0; i <= 60; ++i) {
    const Instant now = Instant(1s) + i * rtt;
    cubic.on_ack_batch(batch(now, cubic.window_bytes(), rtt));
    const double t = to_seconds(i * rtt) + 0.2 - k;
    const double expected = 0.4 * t * t * t + 1000;
    EXPECT_NEAR(static_cast<double>(cubic.window_bytes()) / 1000, expected, 0.03 * expected) << i;
  }
  EXPECT_GT(cubic.window_bytes(), 1'000'000u);  // past the plateau
}

TEST(Cubic, IsNeverSlowerThanReno) {
  Cubic cubic({.datagram_bytes = 1000, .initial_packets = 20, .initial_rtt = 10ms});
  cubic.on_lost(loss(Instant(1s), Instant(900ms)));
  for (int i = 0; i < 100; ++i) cubic.on_ack_batch(batch(Instant(1s) + i * 10ms, cubic.window_bytes(), 10ms));
  // One second is nothing for the cubic (K = 2.5 s), but 100 rounds of Reno.
  EXPECT_GT(cubic.window_bytes(), 14'000u + 50 * 529u);
}

TEST(Cubic, LeavesRoomForLatecomersWhenItsMaximumFalls) {
  const ControllerConfig config{.datagram_bytes = 1000, .initial_packets = 100, .initial_rtt = 500ms};
  Cubic cubic(config);
  cubic.on_lost(loss(Instant(1s), Instant(900ms)));   // maximum 100
  cubic.on_lost(loss(Instant(2s), Instant(1900ms)));  // at 70: the maximum becomes 70 x 0.85
  EXPECT_EQ(cubic.window_bytes(), 49'000u);
  const double k = std::cbrt((59.5 - 49) / 0.4);
  Instant now(2s);
  while (to_seconds(now - Instant(2s)) < k) {
    cubic.on_ack_batch(batch(now, cubic.window_bytes(), 500ms));
    now += 500ms;
  }
  EXPECT_NEAR(static_cast<double>(cubic.window_bytes()), 59'500, 1'500);
}

TEST(Cubic, TakesBackACutWhenEveryLossWasFalse) {
  Cubic cubic({.datagram_bytes = 1000, .initial_packets = 100, .initial_rtt = 50ms});
  cubic.on_lost(loss(Instant(1s), Instant(900ms), 2));
  EXPECT_EQ(cubic.window_bytes(), 70'000u);
  cubic.on_spurious(Instant(900ms), Instant(1100ms));
  EXPECT_EQ(cubic.window_bytes(), 70'000u);
  cubic.on_spurious(Instant(900ms), Instant(1100ms));
  EXPECT_EQ(cubic.window_bytes(), 100'000u);
}

TEST(Cubic, NeverFallsBelowTwoPackets) {
  Cubic cubic({.datagram_bytes = 1000, .initial_packets = 10, .initial_rtt = 50ms});
  for (int i = 1; i < 50; ++i) cubic.on_lost(loss(Instant(i * 1s), Instant(i * 1s) - 1ms));
  EXPECT_EQ(cubic.window_bytes(), 2'000u);
}

TEST(HyStart, LeavesSlowStartWhenTheRttGrows) {
  HyStart hystart;
  std::uint64_t number = 0;
  const auto round = [&](Duration rtt) {
    for (int i = 0; i < 10; ++i) hystart.on_ack(rtt, number + static_cast<std::uint64_t>(i), number + 10);
    number += 10;
  };
  round(40ms);
  round(40ms);
  round(44ms);  // below 40 ms + 40/8 ms
  EXPECT_EQ(hystart.state(), HyStart::State::SlowStart);
  round(50ms);
  EXPECT_EQ(hystart.state(), HyStart::State::Conservative);
  EXPECT_EQ(hystart.growth(1000), 250u);
  for (int i = 0; i < 6; ++i) round(50ms);
  EXPECT_EQ(hystart.state(), HyStart::State::Done);
}

TEST(HyStart, ReturnsWhenTheRiseWasAFluke) {
  HyStart hystart;
  std::uint64_t number = 0;
  const auto round = [&](Duration rtt) {
    for (int i = 0; i < 10; ++i) hystart.on_ack(rtt, number + static_cast<std::uint64_t>(i), number + 10);
    number += 10;
  };
  round(40ms);
  round(40ms);
  round(60ms);
  EXPECT_EQ(hystart.state(), HyStart::State::Conservative);
  round(41ms);
  EXPECT_EQ(hystart.state(), HyStart::State::SlowStart);
}

TEST(RelayWindow, CreepsUpWhileCalmAndFallsBackWithTheFirstLoss) {
  RelayWindow window{};
  std::uint64_t number = 0;
  for (; number < 1000; ++number) window.on_ack(number, number + 1, 40ms, Instant(1s));
  EXPECT_EQ(window.packets(), kRelayMaxWindowPackets);
  window.on_loss();
  EXPECT_EQ(window.packets(), kRelayWindowPackets);
}

// A relay's link of so many bytes per second, 32 KiB datagrams and a round trip of `base` without a queue.
struct SlowRelay {
  double bytes_per_second;
  Duration base;
  RelayWindow window{};
  Instant now{1s};
  std::uint64_t number = 0;
  Duration rtt() const {
    return base + from_seconds(static_cast<double>(window.packets()) * 32'768 / bytes_per_second);
  }
  void run(Duration time) {
    for (const Instant end = now + time; now < end; now += rtt()) {
      window.on_ack(number, number + 1, rtt(), now);
      ++number;
    }
  }
};

TEST(RelayWindow, KeepsTheQueueOfASlowLinkShort) {
  SlowRelay relay{.bytes_per_second = 625e3, .base = 40ms};
  relay.window.on_ack(0, 1, 40ms, relay.now);  // the first, small datagram found no queue
  relay.number = 1;
  relay.run(10s);
  EXPECT_EQ(relay.window.packets(), kRelayLeastPackets);
  relay.bytes_per_second = 10e6;
  relay.run(10s);
  EXPECT_GE(relay.window.packets(), 15u) << "50 ms of queue";
}

TEST(RelayWindow, BelievesARouteThatHasBecomeLonger) {
  SlowRelay relay{.bytes_per_second = 1e9, .base = 20ms};
  relay.run(10s);
  EXPECT_EQ(relay.window.packets(), kRelayMaxWindowPackets);
  relay.base = 200ms;
  relay.run(60s);
  EXPECT_GE(relay.window.packets(), kRelayWindowPackets);
}

TEST(Pacer, KeepsTheRateByAbsoluteDeadlines) {
  Pacer pacer;
  Instant now(1s);
  std::uint64_t sent = 0;
  while (now < Instant(2s)) {  // 10 MB/s, timers half a millisecond late
    while (pacer.may_send(now)) {
      pacer.on_sent(1000, 10e6, 20ms, now);
      sent += 1000;
    }
    now = std::max(pacer.wake_at(), now) + 500us;
  }
  EXPECT_NEAR(static_cast<double>(sent), 10e6, 0.15e6);
}

TEST(Pacer, MakesUpForAStallButNotAtOnceAndNotForEver) {
  Pacer pacer;
  Instant now(1s);
  pacer.on_sent(1000, 10e6, 20ms, now);
  now += 100ms;  // off the processor; the credit is 10 ms
  std::uint64_t at_once = 0, sent = 0;
  while (pacer.may_send(now)) {
    pacer.on_sent(1000, 10e6, 20ms, now);
    at_once += 1000;
  }
  EXPECT_LE(at_once, 12'000u);  // a quantum's time at four times the rate
  const Instant end = now + 10ms;
  for (; now < end; now += 100us) {
    while (pacer.may_send(now)) {
      pacer.on_sent(1000, 10e6, 20ms, now);
      sent += 1000;
    }
  }
  EXPECT_NEAR(static_cast<double>(at_once + sent), 10e6 * 0.020, 5000);  // 10 ms missed and 10 ms passed
}

// 184 packets is what a socket holds where nobody has asked for more.
TEST(Pacer, NoBurstIsLargerThanThePeersSocketTakes) {
  for (const double rate : {10e6, 125e6, 1250e6}) {
    Pacer pacer;
    pacer.limit_burst(100'000);
    Instant now(1s);
    std::uint64_t sent = 0, largest = 0;
    for (int turn = 0; turn < 200; ++turn) {
      std::uint64_t burst = 0;
      for (; pacer.may_send(now); burst += 1000) pacer.on_sent(1000, rate, 20ms, now);
      sent += burst;
      largest = std::max(largest, burst);
      now = std::max(pacer.wake_at(), now) + (turn % 5 == 0 ? 3ms : 20us);
    }
    EXPECT_LE(largest, 101'000u) << rate;
    EXPECT_GT(largest, static_cast<std::uint64_t>(std::min(rate * 0.0009, 90'000.0))) << rate;
    EXPECT_GT(sent, 0u);
  }
}

TEST(Pacer, WaitingForSomethingElseEarnsNoCredit) {
  Pacer pacer;
  Instant now(1s);
  pacer.on_sent(1000, 10e6, 20ms, now);
  now += 100ms;  // the window was full
  pacer.on_held_back(now);
  std::uint64_t sent = 0;
  for (const Instant end = now + 10ms; now < end; now += 100us) {
    while (pacer.may_send(now)) {
      pacer.on_sent(1000, 10e6, 20ms, now);
      sent += 1000;
    }
  }
  EXPECT_NEAR(static_cast<double>(sent), 10e6 * 0.010, 5000);  // and a quantum
}

TEST(Pacer, WithoutARateNeverWaits) {
  Pacer pacer;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(pacer.may_send(Instant(1s)));
    pacer.on_sent(60'000, 0, 20ms, Instant(1s));
  }
}

struct Ends {
  StreamConfig config;
  PacketSealer sealer;
  PacketOpener opener;
  Instant now{1s};

  explicit Ends(StreamConfig given)
      : config(given), sealer(config, Direction::ToReceiver, 7), opener(config, Direction::ToReceiver, 7) {}
  static StreamConfig updating_every(std::uint64_t packets) {
    StreamConfig config;
    config.key_update_packets = packets;
    return config;
  }
  Bytes seal() {
    Bytes datagram(64);
    fill(datagram);
    datagram.resize(sealer.seal(datagram, 20, false, false));
    return datagram;
  }
  PacketOpener::Result unseal(Bytes datagram) {
    const auto header = wire::BulkHeader::parse(datagram);
    ByteSpan plain;
    return opener.unseal(*header, datagram, 300ms, now, plain);
  }
  static void fill(Bytes& datagram) { std::fill(datagram.begin(), datagram.end(), std::byte{1}); }
};

TEST(Keys, ALargePacketUsesUpAKeyLikeSixteenSmallOnes) {
  Ends ends(Ends::updating_every(64));
  const auto seal = [&](std::size_t plain) {
    Bytes datagram(plain + wire::BulkHeader::kSize + Aead::kTagSize);
    ends.sealer.seal(datagram, plain, false, false);
    ends.sealer.on_acked(ends.sealer.next_number() - 1);
  };
  for (int i = 0; i < 16; ++i) seal(1200);
  for (int i = 0; i < 3; ++i) seal(kSmallPacketBytes);
  EXPECT_EQ(ends.sealer.updates(), 0u) << "16 + 3 * 16 is as much as one key may seal";
  seal(20);
  EXPECT_EQ(ends.sealer.updates(), 1u);
  for (int i = 0; i < 63; ++i) seal(1200);
  EXPECT_EQ(ends.sealer.updates(), 1u);
}

// Every packet through the snapshot of one epoch ago at most: that is what the order "new snapshot, then the
// ack" leaves possible.
TEST(Keys, ASnapshotOpensAcrossOneUpdate) {
  Ends ends(Ends::updating_every(8));
  auto ahead = ends.opener.ahead();
  std::uint64_t version = ends.opener.keys_version();
  for (int i = 0; i < 200; ++i) {
    Bytes datagram = ends.seal();
    const Bytes sealed = datagram;
    const auto opened = ahead->unseal(datagram);
    ASSERT_TRUE(opened && opened->genuine) << i;
    const auto header = wire::BulkHeader::parse(datagram);
    ByteSpan plain;
    ASSERT_EQ(ends.opener.unseal(*header, datagram, 300ms, ends.now, plain, opened),
              PacketOpener::Result::Opened);
    EXPECT_EQ(plain.size(), 20u);
    EXPECT_EQ(plain[0], std::byte{1});
    if (ends.opener.keys_version() != version) {
      ahead = ends.opener.ahead();
      version = ends.opener.keys_version();
    }
    ends.sealer.on_acked(header->packet_number);
  }
  EXPECT_GT(ends.opener.updates(), 20u);
}

TEST(Keys, WhatWasOpenedAheadIsCheckedLikeAnythingElse) {
  Ends ends(Ends::updating_every(0));
  const auto ahead = ends.opener.ahead();
  const auto hand_in = [&](Bytes datagram, const std::optional<Opened>& opened) {
    const auto header = wire::BulkHeader::parse(datagram);
    ByteSpan plain;
    return ends.opener.unseal(*header, datagram, 300ms, ends.now, plain, opened);
  };
  Bytes genuine = ends.seal();
  Bytes forged = ends.seal();
  forged.back() ^= std::byte{1};
  const auto refused = ahead->unseal(forged);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->genuine);
  EXPECT_EQ(hand_in(forged, refused), PacketOpener::Result::Forged);
  Bytes other_phase = ends.seal();
  other_phase[0] ^= std::byte{0x08};
  const auto in_vain = ahead->unseal(other_phase);
  ASSERT_TRUE(in_vain);
  EXPECT_FALSE(in_vain->genuine);
  EXPECT_EQ(hand_in(other_phase, in_vain), PacketOpener::Result::Forged);
  EXPECT_EQ(hand_in(genuine, Opened{.genuine = true, .epoch = 3}), PacketOpener::Result::Forged);
  const auto opened = ahead->unseal(genuine);
  EXPECT_EQ(hand_in(genuine, opened), PacketOpener::Result::Opened);
  EXPECT_EQ(hand_in(genuine, opened), PacketOpener::Result::Repeated);
  Bytes elsewhere = ends.seal();
  elsewhere[1] = std::byte{8};  // of another path
  EXPECT_FALSE(ahead->unseal(elsewhere));
  EXPECT_FALSE(ahead->unseal(ByteSpan(elsewhere).first(27)));
}

TEST(Keys, SealTheseGoldenBytes) {
  StreamConfig config;
  for (std::size_t i = 0; i < 64; ++i) config.secret.expose_mutable()[i] = static_cast<std::byte>(i);
  config.peer_connection_id = 0xa1b2c3d4;
  PacketSealer sealer(config, Direction::ToReceiver, 2);
  Bytes datagram(wire::BulkHeader::kSize + 1 + Aead::kTagSize);  // one PING
  datagram[wire::BulkHeader::kSize] = std::byte{1};
  EXPECT_EQ(datagram.size(), sealer.seal(datagram, 1, true, false));
  EXPECT_EQ(to_hex(datagram), "8402a1b2c3d4000000000000cdabadf2646640e7c2f9ae92a091272dfe");
  datagram[wire::BulkHeader::kSize] = std::byte{1};
  sealer.seal(datagram, 1, false, true);
  EXPECT_EQ(to_hex(datagram), "8202a1b2c3d40000000000014f5b4ec4fa2a59b0a9131dc8adabb5b298");
}

TEST(Keys, DifferByPathAndDirection) {
  const StreamConfig config;
  const auto opens = [&](Direction direction, PathId path) {
    Ends ends(config);
    Bytes datagram = ends.seal();
    PacketOpener opener(config, direction, path);
    ByteSpan plain;
    return opener.unseal(*wire::BulkHeader::parse(datagram), datagram, 300ms, ends.now, plain) ==
           PacketOpener::Result::Opened;
  };
  EXPECT_TRUE(opens(Direction::ToReceiver, 7));
  EXPECT_FALSE(opens(Direction::ToSender, 7));
  EXPECT_FALSE(opens(Direction::ToReceiver, 8));
}

TEST(Keys, TheHeaderIsSealedToo) {
  for (std::size_t at = 0; at < wire::BulkHeader::kSize; ++at) {
    Ends ends{StreamConfig{}};
    Bytes datagram = ends.seal();
    datagram[at] ^= std::byte{at == 0 ? std::uint8_t{4} : std::uint8_t{1}};
    EXPECT_EQ(ends.unseal(datagram), PacketOpener::Result::Forged) << at;
  }
}

TEST(Keys, AReplayIsRefusedAndAForgeryDoesNotMoveTheWindow) {
  Ends ends{StreamConfig{}};
  const Bytes first = ends.seal();
  Bytes forged = first;
  store_be32(forged.data() + 8, 0x7fffffff);
  EXPECT_EQ(ends.unseal(forged), PacketOpener::Result::Forged);
  EXPECT_EQ(ends.unseal(first), PacketOpener::Result::Opened);
  EXPECT_EQ(ends.unseal(first), PacketOpener::Result::Repeated);
}

TEST(Keys, UpdateOnlyAfterTheFormerUpdateWasConfirmed) {
  Ends ends(Ends::updating_every(10));
  for (int i = 0; i < 30; ++i) ends.seal();
  EXPECT_EQ(ends.sealer.updates(), 0u);  // nothing acked yet
  ends.sealer.on_acked(3);
  ends.seal();
  EXPECT_EQ(ends.sealer.updates(), 1u);
  EXPECT_TRUE(ends.sealer.wants_confirmation());
  for (int i = 0; i < 30; ++i) ends.seal();
  ends.sealer.on_acked(29);  // sealed with the old key: proves nothing
  ends.seal();
  EXPECT_EQ(ends.sealer.updates(), 1u);
  ends.sealer.on_acked(31);
  ends.seal();
  EXPECT_EQ(ends.sealer.updates(), 2u);
}

TEST(Keys, LatePacketsOfTheOldKeyOpenForAWhile) {
  Ends ends(Ends::updating_every(4));
  std::vector<Bytes> old;
  for (int i = 0; i < 4; ++i) old.push_back(ends.seal());
  EXPECT_EQ(ends.unseal(old[0]), PacketOpener::Result::Opened);
  ends.sealer.on_acked(0);
  const Bytes first_new = ends.seal(), second_new = ends.seal();
  EXPECT_EQ(ends.unseal(second_new), PacketOpener::Result::Opened);
  EXPECT_EQ(ends.opener.updates(), 1u);
  EXPECT_EQ(ends.unseal(first_new), PacketOpener::Result::Opened);  // the new key, older number
  EXPECT_EQ(ends.unseal(old[1]), PacketOpener::Result::Opened);
  ends.now += 300ms - 1ns;
  EXPECT_EQ(ends.unseal(old[2]), PacketOpener::Result::Opened);
  ends.now += 1ns;
  EXPECT_EQ(ends.unseal(old[3]), PacketOpener::Result::TooOld);
}

TEST(Keys, AForgedPhaseBitDoesNotAdvanceTheKey) {
  Ends ends{StreamConfig{}};
  Bytes datagram = ends.seal();
  Bytes forged = datagram;
  forged[0] ^= std::byte{8};
  EXPECT_EQ(ends.unseal(forged), PacketOpener::Result::Forged);
  EXPECT_EQ(ends.opener.updates(), 0u);
  EXPECT_EQ(ends.unseal(datagram), PacketOpener::Result::Opened);
}

}  // namespace
}  // namespace dh::bulk
