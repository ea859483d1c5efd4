#include "wire/derp_frame.hh"

#include <gtest/gtest.h>

#include "wire/derp_frame_reader.hh"

namespace dh::wire::derp {
namespace {

Bytes hex(std::string text) {
  std::erase_if(text, [](char c) { return c == ' '; });
  return from_hex(text).value();
}

PublicKey filled(int value) {
  PublicKey key;
  key.bytes.fill(static_cast<std::byte>(value));
  return key;
}

std::string repeat(std::string_view digits, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += digits;
  return out;
}

template <typename Frame>
std::string written(const Frame& frame) {
  Bytes out;
  Writer w(out);
  frame.serialize(w);
  return to_hex(out);
}

ByteView payload_of(const Bytes& frame) {
  return ByteView(frame).subspan(kFrameHeaderSize);
}

const std::string k11 = repeat("11", 32);
const std::string k22 = repeat("22", 32);
const PublicKey kServer =
    PublicKey::parse("358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254").value();

TEST(DerpFrame, WritesTheGoldenBytes) {
  const auto data = array_from_hex<8>("0102030405060708").value();
  EXPECT_EQ(written(PingFrame{data}), "12000000080102030405060708");
  EXPECT_EQ(written(PongFrame{data}), "13000000080102030405060708");
  EXPECT_EQ(written(HealthFrame{"BAD"}), "1400000003424144");
  EXPECT_EQ(written(HealthFrame{""}), "1400000000");
  EXPECT_EQ(written(RestartingFrame{std::chrono::milliseconds(1), std::chrono::milliseconds(2)}),
            "15000000080000000100000002");
  EXPECT_EQ(written(ServerKeyFrame{kServer}), "010000002844455250f09f9491" + kServer.to_hex());
  EXPECT_EQ(written(SendPacketFrame{filled(0x11), as_bytes("hello")}), "0400000025" + k11 + "68656c6c6f");
  EXPECT_EQ(written(RecvPacketFrame{filled(0x22), as_bytes("hello")}), "0500000025" + k22 + "68656c6c6f");
  EXPECT_EQ(written(ForwardPacketFrame{filled(0x22), filled(0x11), as_bytes("hello")}),
            "0a00000045" + k22 + k11 + "68656c6c6f");
  EXPECT_EQ(written(KeepAliveFrame{}), "0600000000");
  EXPECT_EQ(written(NotePreferredFrame{true}), "070000000101");
  EXPECT_EQ(written(NotePreferredFrame{false}), "070000000100");
  EXPECT_EQ(written(WatchConnsFrame{}), "1000000000");
  EXPECT_EQ(written(ClosePeerFrame{filled(0x22)}), "1100000020" + k22);
  EXPECT_EQ(written(PeerGoneFrame{filled(0x22), 1}), "0800000021" + k22 + "01");
  EXPECT_EQ(written(PeerPresentFrame{filled(0x22), Endpoint::parse("192.0.2.1:40001"), 1}),
            "0900000033" + k22 + "00000000000000000000ffffc00002019c4101");
  EXPECT_EQ(written(PeerPresentFrame{filled(0x22), std::nullopt, 2}),
            "0900000033" + k22 + repeat("00", 18) + "02");
}

TEST(DerpFrame, ReadsAndWritesHeadersOfAnyTypeAndLength) {
  EXPECT_EQ(written(FrameHeader{FrameType::SendPacket, 1024}), "0400000400");
  EXPECT_EQ(written(FrameHeader{FrameType::KeepAlive, 0}), "0600000000");
  EXPECT_EQ(written(FrameHeader{FrameType::RecvPacket, 0xffffffff}), "05ffffffff");
  EXPECT_EQ(FrameHeader::read_from(hex("05ffffffff").data()),
            (FrameHeader{FrameType::RecvPacket, 0xffffffff}));
}

TEST(DerpFrame, ParsesWhatItWrote) {
  const Bytes send = hex("0400000025" + k11 + "68656c6c6f");
  const auto packet = SendPacketFrame::parse(payload_of(send)).value();
  EXPECT_EQ(packet.to, filled(0x11));
  EXPECT_EQ(as_text(packet.packet), "hello");

  const Bytes forward = hex("0a00000045" + k22 + k11 + "68656c6c6f");
  const auto forwarded = ForwardPacketFrame::parse(payload_of(forward)).value();
  EXPECT_EQ(forwarded.from, filled(0x22));
  EXPECT_EQ(forwarded.to, filled(0x11));
  EXPECT_EQ(as_text(forwarded.packet), "hello");

  const Bytes restarting = hex("15000000080000000100000002ff");
  EXPECT_EQ(RestartingFrame::parse(payload_of(restarting))->reconnect_in, std::chrono::milliseconds(1));
  EXPECT_EQ(RestartingFrame::parse(payload_of(restarting))->try_for, std::chrono::milliseconds(2));
  EXPECT_TRUE(NotePreferredFrame::parse(hex("07"))->home);
}

TEST(DerpFrame, TakesServerKeyWithFutureBytesButNotAnotherMagic) {
  const std::string frame = "44455250f09f9491" + kServer.to_hex();
  EXPECT_EQ(ServerKeyFrame::parse(hex(frame))->key, kServer);
  EXPECT_EQ(ServerKeyFrame::parse(hex(frame + "0102"))->key, kServer);
  EXPECT_EQ(ServerKeyFrame::parse(hex(frame + repeat("00", 985))).error(), WireError::TooLong);
  EXPECT_EQ(ServerKeyFrame::parse(hex("54" + frame.substr(2))).error(), WireError::BadMagic);
}

TEST(DerpFrame, ReadsPeerGoneOfOldServersAsDisconnected) {
  EXPECT_EQ(PeerGoneFrame::parse(hex(k22))->reason, 0);
  EXPECT_EQ(PeerGoneFrame::parse(hex(k22 + "01ffff"))->reason, 1);
}

TEST(DerpFrame, ReadsPeerPresentByWhatIsLeft) {
  EXPECT_FALSE(PeerPresentFrame::parse(hex(k22))->address);
  const std::string address = "00000000000000000000ffffc00002019c41";
  EXPECT_EQ(PeerPresentFrame::parse(hex(k22 + address))->address, Endpoint::parse("192.0.2.1:40001"));
  EXPECT_EQ(PeerPresentFrame::parse(hex(k22 + address))->flags, 0);
  EXPECT_EQ(PeerPresentFrame::parse(hex(k22 + address + "08aabb"))->flags, 8);
  EXPECT_EQ(PeerPresentFrame::parse(hex(k22 + "05"))->flags, 5);
  EXPECT_FALSE(PeerPresentFrame::parse(hex(k22 + repeat("00", 18) + "01"))->address);
}

template <typename Frame>
void refuses_every_truncation(const std::string& payload_hex) {
  const Bytes whole = hex(payload_hex);
  ASSERT_TRUE(Frame::parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(Frame::parse(ByteView(whole).first(size)).error(), WireError::Truncated) << size;
}

TEST(DerpFrame, RefusesEveryTruncation) {
  refuses_every_truncation<ServerKeyFrame>("44455250f09f9491" + kServer.to_hex());
  refuses_every_truncation<ClientInfoFrame>(k22 + repeat("00", 24));
  refuses_every_truncation<ServerInfoFrame>(repeat("00", 24));
  refuses_every_truncation<SendPacketFrame>(k22);
  refuses_every_truncation<RecvPacketFrame>(k22);
  refuses_every_truncation<ForwardPacketFrame>(k22 + k11);
  refuses_every_truncation<NotePreferredFrame>("01");
  refuses_every_truncation<PeerGoneFrame>(k22);
  refuses_every_truncation<PeerPresentFrame>(k22);
  refuses_every_truncation<ClosePeerFrame>(k22);
  refuses_every_truncation<PingFrame>(repeat("01", 8));
  refuses_every_truncation<PongFrame>(repeat("01", 8));
  refuses_every_truncation<RestartingFrame>(repeat("01", 8));
}

TEST(DerpFrame, RefusesWhatTheProtocolForbids) {
  EXPECT_EQ(ClientInfoFrame::parse(hex(repeat("00", 32 + 40))).error(), WireError::BadValue);
  EXPECT_EQ(NotePreferredFrame::parse(hex("0101")).error(), WireError::TooLong);
  EXPECT_EQ(ClosePeerFrame::parse(hex(k22 + "00")).error(), WireError::TooLong);
  EXPECT_TRUE(PingFrame::parse(Bytes(1000)));
  EXPECT_EQ(PingFrame::parse(Bytes(1001)).error(), WireError::TooLong);
  EXPECT_TRUE(SendPacketFrame::parse(Bytes(32 + 65536)));
  EXPECT_EQ(SendPacketFrame::parse(Bytes(32 + 65537)).error(), WireError::TooLong);
  EXPECT_TRUE(ForwardPacketFrame::parse(Bytes(64 + 65536)));
  EXPECT_EQ(ForwardPacketFrame::parse(Bytes(64 + 65537)).error(), WireError::TooLong);
}

TEST(DerpFrame, KnowsDiscoByMagicAndLength) {
  Bytes packet = hex("5453f09f92ac");
  packet.resize(61);
  EXPECT_FALSE(looks_like_disco(packet));
  packet.resize(62);
  EXPECT_TRUE(looks_like_disco(packet));
  packet[5] = std::byte{0};
  EXPECT_FALSE(looks_like_disco(packet));
}

Bytes three_frames() {
  Bytes stream;
  Writer w(stream);
  PingFrame{}.serialize(w);
  SendPacketFrame{filled(1), Bytes(1000, std::byte{7})}.serialize(w);
  KeepAliveFrame{}.serialize(w);
  return stream;
}

TEST(FrameReader, FindsTheSameFramesHoweverTheStreamIsCut) {
  const Bytes stream = three_frames();
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    FrameReader reader;
    std::vector<std::size_t> sizes;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      reader.append(ByteView(stream).subspan(at, std::min(step, stream.size() - at)));
      while (auto frame = reader.next()) sizes.push_back(frame->payload.size());
    }
    ASSERT_EQ(sizes, (std::vector<std::size_t>{8, 1032, 0})) << step;
    ASSERT_EQ(reader.buffered(), 0u);
  }
}

TEST(FrameReader, HandsFramesOutWhereTheyWereRead) {
  const Bytes stream = three_frames();
  FrameReader reader;
  const ByteSpan space = reader.space(stream.size());
  std::memcpy(space.data(), stream.data(), stream.size());
  reader.commit(stream.size());
  EXPECT_EQ(reader.next()->payload.data(), space.data() + 5);
}

TEST(FrameReader, StopsAtAFrameBeyondOneMebibyte) {
  FrameReader reader;
  reader.append(hex("f000100000"));
  EXPECT_FALSE(reader.too_long());
  FrameReader other;
  other.append(hex("f000100001"));
  EXPECT_TRUE(other.too_long());
  EXPECT_FALSE(other.next());
}

TEST(FrameSplitter, FindsTheSameFramesHoweverTheStreamIsCut) {
  const Bytes stream = three_frames();
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    FrameSplitter splitter;
    std::vector<std::size_t> sizes;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      splitter.feed(ByteView(stream).subspan(at, std::min(step, stream.size() - at)));
      while (auto frame = splitter.next()) sizes.push_back(frame->payload.size());
      splitter.keep_rest();
    }
    ASSERT_EQ(sizes, (std::vector<std::size_t>{8, 1032, 0})) << step;
    ASSERT_EQ(splitter.held(), 0u);
  }
}

TEST(FrameSplitter, DoesNotCopyFramesThatLieWholeInItsInput) {
  const Bytes stream = three_frames();
  FrameSplitter splitter;
  splitter.feed(stream);
  EXPECT_EQ(splitter.next()->whole.data(), stream.data());
  EXPECT_EQ(splitter.next()->whole.data(), stream.data() + 13);
}

TEST(FrameSplitter, DiscardsFramesWithoutKeepingThem) {
  Bytes stream = hex("f0000f4240");  // a million bytes
  stream.resize(5 + 1'000'000);
  Writer w(stream);
  KeepAliveFrame{}.serialize(w);
  for (std::size_t step : {3u, 1000u, 999'999u, 2'000'000u}) {
    FrameSplitter splitter;
    int kept = 0;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      splitter.feed(ByteView(stream).subspan(at, std::min<std::size_t>(step, stream.size() - at)));
      while (auto header = splitter.header()) {
        if (header->type == FrameType::KeepAlive && splitter.next())
          ++kept;
        else
          splitter.discard();
      }
      splitter.keep_rest();
      ASSERT_LT(splitter.held(), 8u);
    }
    EXPECT_EQ(kept, 1) << step;
  }
}

}  // namespace
}  // namespace dh::wire::derp
