#include "session/control_channel.hh"

#include <gtest/gtest.h>

#include "base/rng.hh"

namespace dh::session {
namespace {

SessionKeys keys(bool initiator, unsigned session = 1) {
  SessionKeys out;
  out.exporter.expose_mutable()[0] = static_cast<std::byte>(session);
  out.local_index = initiator ? 10 : 20;
  out.peer_index = initiator ? 20 : 10;
  out.initiator = initiator;
  return out;
}
Bytes text(std::string_view value) {
  return to_bytes(as_bytes(value));
}

struct Pair {
  ControlChannel a{keys(true)}, b{keys(false)};
  Instant now{};
  Bytes packet(ControlChannel& from) {
    auto bytes = from.poll_packet(now);
    EXPECT_TRUE(bytes);
    return bytes.value_or(Bytes());
  }
};

TEST(ControlChannel, DeliversAndAcknowledgesWithinTheAckDelay) {
  Pair pair;
  EXPECT_TRUE(pair.a.send(text("hello"), pair.now));
  EXPECT_TRUE(pair.b.on_packet(pair.packet(pair.a), pair.now));
  EXPECT_EQ(pair.b.poll_message(), text("hello"));
  EXPECT_FALSE(pair.b.poll_packet(pair.now));
  EXPECT_EQ(pair.b.next_timeout(), pair.now + 20ms);
  pair.now += 20ms;
  EXPECT_TRUE(pair.a.on_packet(pair.packet(pair.b), pair.now));
  EXPECT_TRUE(pair.a.all_acknowledged());
  EXPECT_EQ(pair.a.smoothed_rtt(), 20ms);
  EXPECT_FALSE(pair.a.next_timeout());
  EXPECT_FALSE(pair.b.next_timeout());
}

TEST(ControlChannel, AnAnswerCarriesTheAcknowledgement) {
  Pair pair;
  pair.a.send(text("ask"), pair.now);
  pair.b.on_packet(pair.packet(pair.a), pair.now);
  pair.b.send(text("answer"), pair.now);
  pair.a.on_packet(pair.packet(pair.b), pair.now);
  EXPECT_TRUE(pair.a.all_acknowledged());
  EXPECT_FALSE(pair.b.poll_packet(pair.now + 1h - 1h)) << "nothing is left to acknowledge";
}

TEST(ControlChannel, ResendsAfter300MillisecondsDoublingToTwoSeconds) {
  Pair pair;
  pair.a.send(text("lost"), pair.now);
  pair.packet(pair.a);
  for (const Duration wait : {300ms, 600ms, 1200ms, 2000ms, 2000ms}) {
    EXPECT_EQ(pair.a.next_timeout(), pair.now + wait);
    EXPECT_FALSE(pair.a.poll_packet(pair.now + wait - 1ms));
    pair.now += wait;
    pair.packet(pair.a);
  }
  EXPECT_EQ(pair.a.counters().resent, 5u);
  pair.a.resend_now(pair.now);
  EXPECT_TRUE(pair.b.on_packet(pair.packet(pair.a), pair.now));
  EXPECT_EQ(pair.b.poll_message(), text("lost"));
  EXPECT_EQ(pair.a.waiting_since(), Instant{});
}

TEST(ControlChannel, KeepsOrderAndResendsOnlyWhatIsMissing) {
  Pair pair;
  for (const char* word : {"1", "2", "3"}) pair.a.send(text(word), pair.now);
  const Bytes one = pair.packet(pair.a), two = pair.packet(pair.a), three = pair.packet(pair.a);
  pair.b.on_packet(three, pair.now);
  EXPECT_FALSE(pair.b.poll_message());
  pair.b.on_packet(one, pair.now);
  EXPECT_EQ(pair.b.poll_message(), text("1"));
  pair.a.on_packet(pair.packet(pair.b), pair.now);
  pair.now = *pair.a.next_timeout();
  pair.b.on_packet(pair.packet(pair.a), pair.now);
  EXPECT_EQ(pair.a.counters().resent, 1u);
  EXPECT_EQ(pair.b.poll_message(), text("2"));
  EXPECT_EQ(pair.b.poll_message(), text("3"));
  EXPECT_FALSE(pair.b.on_packet(two, pair.now) && pair.b.poll_message());
}

TEST(ControlChannel, AReplayIsCountedAndHasNoEffect) {
  Pair pair;
  pair.a.send(text("once"), pair.now);
  const Bytes packet = pair.packet(pair.a);
  EXPECT_TRUE(pair.b.on_packet(packet, pair.now));
  EXPECT_FALSE(pair.b.on_packet(packet, pair.now));
  EXPECT_EQ(pair.b.counters().replayed, 1u);
  EXPECT_TRUE(pair.b.poll_message());
  EXPECT_FALSE(pair.b.poll_message());
}

TEST(ControlChannel, ReflectedAndForeignPacketsAreRefused) {
  Pair pair;
  pair.a.send(text("x"), pair.now);
  Bytes packet = pair.packet(pair.a);
  EXPECT_FALSE(pair.a.on_packet(packet, pair.now));
  EXPECT_EQ(pair.a.counters().malformed, 1u);
  packet[4] = std::byte{10};  // addressed to its own sender
  EXPECT_FALSE(pair.a.on_packet(packet, pair.now));
  EXPECT_EQ(pair.a.counters().forged, 1u);
  ControlChannel other(keys(true, 2));
  other.send(text("x"), pair.now);
  EXPECT_FALSE(pair.b.on_packet(*other.poll_packet(pair.now), pair.now));
  EXPECT_EQ(pair.b.counters().forged, 1u);
}

TEST(ControlChannel, QueueAndFlightAreBounded) {
  Pair pair;
  for (std::size_t i = 0; i < ControlChannel::kMaxQueued; ++i) EXPECT_TRUE(pair.a.send(text("m"), pair.now));
  EXPECT_FALSE(pair.a.send(text("m"), pair.now));
  std::size_t sent = 0;
  while (pair.a.poll_packet(pair.now)) ++sent;
  EXPECT_EQ(sent, ControlChannel::kMaxInFlight);
}

TEST(ControlChannel, AReaderThatDoesNotPollFillsNoMemory) {
  Pair pair;
  std::size_t accepted = 0;
  for (int round = 0; round < 400; ++round) {
    accepted += pair.a.send(Bytes(1024), pair.now) ? 1 : 0;
    while (auto packet = pair.a.poll_packet(pair.now)) pair.b.on_packet(*packet, pair.now);
    pair.now += 20ms;
    while (auto packet = pair.b.poll_packet(pair.now)) pair.a.on_packet(*packet, pair.now);
  }
  std::size_t unread = 0;
  while (pair.b.poll_message()) ++unread;
  EXPECT_EQ(unread, ControlChannel::kMaxQueued);
  EXPECT_EQ(accepted, 2 * ControlChannel::kMaxQueued);
  EXPECT_GT(pair.b.counters().out_of_window, 0u);
}

TEST(ControlChannel, MovesWithEverythingInIt) {
  Pair pair;
  pair.a.send(text("x"), pair.now);
  ControlChannel moved = std::move(pair.a);
  EXPECT_TRUE(pair.b.on_packet(*moved.poll_packet(pair.now), pair.now));
}

TEST(ControlChannel, EverythingArrivesOnceAndInOrderThroughABadNetwork) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    SeededRng rng(seed);
    Pair pair;
    std::multimap<Instant, std::pair<bool, Bytes>> flying;
    unsigned next_out[2] = {0, 0}, next_in[2] = {0, 0};
    constexpr unsigned kMessages = 60;
    const auto drain = [&](bool from_a) {
      ControlChannel& from = from_a ? pair.a : pair.b;
      while (auto packet = from.poll_packet(pair.now)) {
        ASSERT_LE(packet->size(), 1200u);
        for (int copy = 0; copy < 2; ++copy) {
          if (rng.chance(copy == 0 ? 0.3 : 0.9)) continue;
          flying.emplace(pair.now + from_seconds(rng.unit() * 0.3), std::pair(from_a, *packet));
        }
      }
      while (auto message = from.poll_message())
        ASSERT_EQ(load_be32(message->data()), next_in[from_a ? 0 : 1]++);
    };
    for (int step = 0; step < 100'000; ++step) {
      for (int side = 0; side < 2; ++side) {
        if (next_out[side] == kMessages || !rng.chance(0.2)) continue;
        Bytes message(4 + rng.below(1000));
        store_be32(message.data(), next_out[side]);
        if ((side == 0 ? pair.a : pair.b).send(std::move(message), pair.now)) ++next_out[side];
      }
      drain(true);
      drain(false);
      if (next_in[0] == kMessages && next_in[1] == kMessages && pair.a.all_acknowledged() &&
          pair.b.all_acknowledged())
        break;
      std::optional<Instant> due = earlier(pair.a.next_timeout(), pair.b.next_timeout());
      if (!flying.empty()) due = earlier(due, flying.begin()->first);
      pair.now = std::max(pair.now, std::min(due.value_or(pair.now + 10ms), pair.now + 10ms));
      while (!flying.empty() && flying.begin()->first <= pair.now) {
        (flying.begin()->second.first ? pair.b : pair.a).on_packet(flying.begin()->second.second, pair.now);
        flying.erase(flying.begin());
      }
    }
    ASSERT_EQ(next_in[0], kMessages);
    ASSERT_EQ(next_in[1], kMessages);
    ASSERT_EQ(pair.a.counters().forged + pair.a.counters().protocol_errors, 0u);
  }
}

TEST(ReplayWindow, AcceptsEachOfTheLast1024Once) {
  ReplayWindow window;
  EXPECT_TRUE(window.accept(0));
  EXPECT_FALSE(window.accept(0));
  EXPECT_TRUE(window.accept(1023));
  EXPECT_TRUE(window.accept(1));
  EXPECT_TRUE(window.accept(1024));
  EXPECT_FALSE(window.accept(0));
  EXPECT_FALSE(window.accept(1));
  EXPECT_TRUE(window.accept(2));
  EXPECT_TRUE(window.accept(1u << 20));
  EXPECT_FALSE(window.accept(1024));
  EXPECT_TRUE(window.accept((1u << 20) - 1023));
  EXPECT_FALSE(window.accept(UINT64_MAX));
  EXPECT_TRUE(window.accept(UINT64_MAX - 1));
  EXPECT_FALSE(window.accept(UINT64_MAX - 1));
}

}  // namespace
}  // namespace dh::session
