#include "bulk/rate_sampler.hh"

#include <vector>

#include <gtest/gtest.h>

namespace dh::bulk {
namespace {

TEST(RateSampler, MeasuresTheSlowerOfSendingAndAcking) {
  RateSampler sampler;
  std::vector<SentPacket> sent(10);
  Instant now(1s);
  std::uint64_t in_flight = 0;
  for (auto& packet : sent) {  // 1000 bytes each millisecond
    packet.wire_bytes = 1000;
    packet.sent_at = now;
    sampler.on_sent(packet, in_flight, now);
    in_flight += 1000;
    now += 1ms;
  }
  now = Instant(1s) + 20ms;
  sampler.on_acked(sent[0], now);
  auto sample = sampler.take(20ms, now);
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->delivered, 1000u);
  EXPECT_EQ(sample->interval, Duration(20ms));
  // Acks for all the others in one batch: one sample, from the newest of them.
  now += 9ms;
  for (std::size_t i = 1; i < 10; ++i) sampler.on_acked(sent[i], now);
  sample = sampler.take(20ms, now);
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->delivered, 10'000u);
  EXPECT_EQ(sample->interval, Duration(29ms));
  EXPECT_EQ(sample->in_flight, 10'000u);
  EXPECT_FALSE(sampler.take(20ms, now));  // nothing new
}

TEST(RateSampler, TellsNoRateFromLessThanTheSmallestRtt) {
  RateSampler sampler;
  SentPacket packet;
  packet.wire_bytes = 1000;
  packet.sent_at = Instant(1s);
  sampler.on_sent(packet, 0, packet.sent_at);
  sampler.on_acked(packet, Instant(1s) + 5ms);
  const auto sample = sampler.take(10ms, Instant(1s) + 5ms);
  ASSERT_TRUE(sample);  // the round is real, its rate is not
  EXPECT_FALSE(sample->reliable);
  EXPECT_EQ(sample->bytes_per_second(), 0);
  EXPECT_EQ(sample->delivered, 1000u);
}

TEST(RateSampler, MarksPacketsSentWhileThereWasTooLittleToSend) {
  RateSampler sampler;
  SentPacket first, second;
  first.wire_bytes = second.wire_bytes = 1000;
  first.sent_at = Instant(1s);
  sampler.on_sent(first, 0, first.sent_at);
  sampler.on_app_limited(1000);
  second.sent_at = Instant(1s) + 1ms;
  sampler.on_sent(second, 1000, second.sent_at);
  EXPECT_FALSE(first.app_limited);
  EXPECT_TRUE(second.app_limited);
  sampler.on_acked(first, Instant(1s) + 10ms);
  sampler.take(1ms, Instant(1s) + 10ms);
  EXPECT_TRUE(sampler.is_app_limited());
  sampler.on_acked(second, Instant(1s) + 11ms);
  EXPECT_TRUE(sampler.take(1ms, Instant(1s) + 11ms)->app_limited);
  EXPECT_FALSE(sampler.is_app_limited());  // delivered past the mark
}

TEST(RateSampler, CountsBytesLostInTheInterval) {
  RateSampler sampler;
  SentPacket a, b;
  a.wire_bytes = b.wire_bytes = 1000;
  a.sent_at = b.sent_at = Instant(1s);
  sampler.on_sent(a, 0, a.sent_at);
  sampler.on_sent(b, 1000, b.sent_at);
  sampler.on_lost(a);
  sampler.on_acked(b, Instant(1s) + 10ms);
  EXPECT_EQ(sampler.take(1ms, Instant(1s) + 10ms)->lost, 1000u);
}

SentPacket packet_at(Instant sent_at, std::uint32_t bytes = 1000) {
  SentPacket packet;
  packet.sent_at = sent_at;
  packet.wire_bytes = bytes;
  return packet;
}

TEST(RateSampler, IsNotFooledByAcksThatCameTogether) {
  // Ten packets leave in 45 ms; their acks lie on each other at the end. By acks alone: 10 kB in no time.
  RateSampler sampler;
  std::vector<SentPacket> sent;
  const Instant start(1s);
  for (int i = 0; i < 10; ++i) sent.push_back(packet_at(start + i * 5ms));
  std::uint64_t in_flight = 0;
  for (auto& packet : sent) {
    sampler.on_sent(packet, in_flight, packet.sent_at);
    in_flight += 1000;
  }
  const Instant now = start + 50ms;
  for (const auto& packet : sent) sampler.on_acked(packet, now);
  const auto sample = sampler.take(10ms, now);
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->interval, Duration(50ms));  // since the first was sent: nothing was delivered before
  EXPECT_DOUBLE_EQ(sample->bytes_per_second(), 200'000);
}

TEST(RateSampler, StartsAfreshAfterSilence) {
  RateSampler sampler;
  SentPacket first = packet_at(Instant(1s));
  sampler.on_sent(first, 0, first.sent_at);
  sampler.on_acked(first, Instant(1s) + 10ms);
  ASSERT_TRUE(sampler.take(1ms, Instant(1s) + 10ms));
  SentPacket second = packet_at(Instant(9s));  // eight silent seconds are nobody's rate
  sampler.on_sent(second, 0, second.sent_at);
  sampler.on_acked(second, Instant(9s) + 10ms);
  const auto sample = sampler.take(1ms, Instant(9s) + 10ms);
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->interval, Duration(10ms));
  EXPECT_EQ(sample->delivered, 1000u);
}

TEST(RateSampler, APacketFoundAliveLateDoesNotTurnTheSendingClockBack) {
  RateSampler sampler;
  std::vector<SentPacket> sent;
  const Instant start(1s);
  for (int i = 0; i < 4; ++i) sent.push_back(packet_at(start + i * 10ms));
  for (std::size_t i = 0; i < 3; ++i) sampler.on_sent(sent[i], 1000 * i, sent[i].sent_at);
  sampler.on_acked(sent[2], start + 30ms);
  sampler.take(10ms, start + 30ms);
  sampler.on_acked(sent[0], start + 30ms);  // had been declared lost
  sampler.take(10ms, start + 30ms);
  sampler.on_sent(sent[3], 1000, sent[3].sent_at);
  EXPECT_EQ(sent[3].first_sent_at, sent[2].sent_at);
}

TEST(RateSampler, MarksAnEmptyPathAppLimitedToo) {
  RateSampler sampler;
  sampler.on_app_limited(0);  // before anything was delivered
  EXPECT_TRUE(sampler.is_app_limited());
  SentPacket packet = packet_at(Instant(1s));
  sampler.on_sent(packet, 0, packet.sent_at);
  EXPECT_TRUE(packet.app_limited);
  sampler.on_acked(packet, Instant(1s) + 10ms);
  sampler.take(1ms, Instant(1s) + 10ms);
  EXPECT_FALSE(sampler.is_app_limited());
}

}  // namespace
}  // namespace dh::bulk
