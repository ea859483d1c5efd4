// A peer that holds the keys and breaks one rule per test.

#include "bulk/keys.hh"
#include "bulk/limits.hh"
#include "bulk/link.hh"
#include "bulk/path_channel.hh"
#include "bulk/stream_digest.hh"

namespace dh::bulk::test {
namespace {

constexpr PathProperties kPath{.datagram_bytes = 1200, .is_relay = false, .initial_rtt = 20ms};

/// One honest end and a hand that seals whatever it likes for it.
template <class End>
struct Against {
  StreamConfig config = config_of(1);
  SeededRng rng{1};
  Instant now{1s};
  End end{config, now, rng};
  PathChannel path{0, kPath};
  PacketSealer hand{config, std::is_same_v<End, Sender> ? Direction::ToSender : Direction::ToReceiver, 0};

  Against() { end.add_path(0, kPath, now); }
  void send(auto&& fill) {
    Bytes out(1200);
    wire::FrameWriter frames(path.plain_part(out));
    fill(frames);
    out.resize(hand.seal(out, frames.size(), false, false));
    EXPECT_TRUE(end.on_datagram(0, out, now));
  }
  std::size_t drain() {
    Bytes out(65'535);
    std::size_t count = 0;
    while (end.poll_transmit(out, now)) ++count;
    return count;
  }
  std::optional<AbortCode> aborted() {
    while (auto event = end.poll_event())
      if (const auto* abort = std::get_if<StreamAborted>(&*event)) {
        EXPECT_FALSE(abort->by_peer);
        return abort->code;
      }
    return std::nullopt;
  }
};

wire::AckFrame ack_of(std::uint64_t first, std::uint64_t last) {
  wire::AckFrame ack;
  ack.ranges[0] = {first, last};
  ack.range_count = 1;
  return ack;
}

TEST(HostileReceiver, CannotAckWhatWasNeverSent) {
  Against<Sender> world;
  world.end.write(Bytes(5000));
  const std::size_t sent = world.drain();
  world.send([&](auto& frames) { frames.ack(ack_of(0, sent - 1)); });
  EXPECT_FALSE(world.aborted());
  world.send([&](auto& frames) { frames.ack(ack_of(0, sent + 5)); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileReceiver, CannotCompleteWhatIsNotFinished) {
  Against<Sender> world;
  world.end.write(Bytes(10));
  world.drain();
  world.send([](auto& frames) { frames.complete({10}); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileReceiver, CannotCompleteAnotherSize) {
  Against<Sender> world;
  world.end.write(Bytes(10));
  world.end.finish();
  world.drain();
  world.send([](auto& frames) { frames.complete({11}); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileReceiver, CannotSendDataOrNonsense) {
  for (const int type : {3, 4, 7, 8, 255}) {
    Against<Sender> world;
    world.send([&](auto& frames) {
      frames.padding(40);
      (void)frames;
    });
    world.send([&](auto& frames) {
      Bytes raw(17, std::byte{0});
      raw[0] = static_cast<std::byte>(type);
      const ByteSpan at = frames.data(0, 17);
      std::copy(raw.begin(), raw.end(), at.data() - wire::DataFrame::kOverhead);
    });
    EXPECT_EQ(world.aborted(), AbortCode::ProtocolError) << type;
  }
}

TEST(HostileReceiver, LoweringTheLimitChangesNothing) {
  Against<Sender> world;
  world.end.write(Bytes(100'000));
  const std::size_t sent = world.drain();
  world.send([&](auto& frames) { frames.ack(ack_of(0, sent - 1)); });  // limit 0
  world.now += 10ms;
  EXPECT_GT(world.drain(), 0u);
}

TEST(HostileSender, CannotGoBeyondTheReceiveLimit) {
  Against<Receiver> world;
  world.send([&](auto& frames) { frames.data(world.config.receive_window - 1, 1); });
  EXPECT_FALSE(world.aborted());
  world.send([&](auto& frames) { frames.data(world.config.receive_window, 1); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileSender, CannotChangeTheFinalSizeOrDigest) {
  Against<Receiver> world;
  world.send([](auto& frames) { frames.fin({100, 1}); });
  world.send([](auto& frames) { frames.fin({100, 1}); });
  EXPECT_FALSE(world.aborted());
  world.send([](auto& frames) { frames.fin({100, 2}); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileSender, CannotSendBeyondTheFinalSizeNorFinishBelowWhatItSent) {
  Against<Receiver> world;
  world.send([](auto& frames) { frames.fin({100, 1}); });
  world.send([](auto& frames) { frames.data(100, 1); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
  Against<Receiver> other;
  other.send([](auto& frames) { frames.data(200, 1); });
  other.send([](auto& frames) { frames.fin({200, 1}); });
  EXPECT_EQ(other.aborted(), AbortCode::ProtocolError);
}

TEST(HostileSender, AWrongDigestEndsTheStream) {
  Against<Receiver> world;
  world.send([](auto& frames) {
    frames.fin({3, 12345});
    const ByteSpan data = frames.data(0, 3);
    std::fill(data.begin(), data.end(), std::byte{1});
  });
  EXPECT_EQ(world.aborted(), AbortCode::DigestMismatch);
  EXPECT_TRUE(world.end.readable().empty());
}

TEST(HostileSender, TheDigestIsXxh3OfTheWholeStream) {
  Against<Receiver> world;
  StreamDigest digest;
  digest.update(as_bytes("abc"));
  EXPECT_EQ(digest.value(), 0x78af5f94892f3950u);  // XXH3-64 of "abc", seed 0
  world.send([&](auto& frames) {
    frames.fin({3, digest.value()});
    const ByteSpan data = frames.data(0, 3);
    std::copy_n(as_bytes("abc").begin(), 3, data.begin());
  });
  const auto event = world.end.poll_event();
  ASSERT_TRUE(event && std::holds_alternative<StreamEnded>(*event));
  EXPECT_EQ(as_text(world.end.readable()), "abc");
}

TEST(HostileSender, CannotAnswerACompleteThatWasNeverSent) {
  Against<Receiver> world;
  world.send([](auto& frames) { frames.complete_ack(); });
  EXPECT_EQ(world.aborted(), AbortCode::ProtocolError);
}

TEST(HostileSender, AFloodOfOneByteHolesCostsBoundedMemoryAndIsNotAcked) {
  Against<Receiver> world;
  for (std::uint64_t i = 0; i < kMaxGaps + 1000; ++i) {
    world.send([&](auto& frames) { frames.data(1 + 2 * i, 1); });
    world.drain();
  }
  EXPECT_EQ(world.end.buffered_bytes(), kMaxGaps);
  EXPECT_FALSE(world.aborted());
}

TEST(Strangers, ForgedAndForeignDatagramsAreCountedAndNothingElse) {
  Against<Receiver> world;
  Bytes datagram(100);
  EXPECT_FALSE(world.end.on_datagram(0, datagram, world.now));  // not our mark
  datagram[0] = std::byte{0x80};
  datagram[1] = std::byte{9};
  EXPECT_FALSE(world.end.on_datagram(0, datagram, world.now));  // says another path
  EXPECT_FALSE(world.end.on_datagram(9, datagram, world.now));  // no such path
  EXPECT_EQ(world.end.counters().forged, 0u);
  datagram[1] = std::byte{0};
  EXPECT_FALSE(world.end.on_datagram(0, datagram, world.now));
  for (std::size_t size = 0; size < 28; ++size)
    EXPECT_FALSE(world.end.on_datagram(0, ByteSpan(datagram).first(size), world.now));
  EXPECT_EQ(world.end.counters().packets_received, 0u);
  EXPECT_GE(world.end.counters().forged, 1u);
  EXPECT_EQ(world.drain(), 0u);
}

}  // namespace
}  // namespace dh::bulk::test
