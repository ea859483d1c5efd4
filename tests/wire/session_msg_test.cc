#include "wire/session_msg.hh"

#include <gtest/gtest.h>

#include "wire/control_packet.hh"

namespace dh::wire {
namespace {

struct Golden {
  SessionMsg message;
  std::string_view hex;
};

TEST(SessionMsg, EveryMessageHasItsGoldenBytes) {
  const Golden goldens[] = {
      {Claim{1, 2, 0x800000, 3},
       "010001000000020000000000800000"
       "03"},
      {ClaimAccepted{1, 0x800000, 2},
       "0200010000000000800000"
       "02"},
      {ClaimRejected{RejectReason::Busy}, "0306"},
      {Close{5, "bye"}, "04000503627965"},
      {RelayHint{1}, "0501"},
      {Ping{}, "06"},
      {CommandMsg{*from_hex("c0ffee")}, "070003c0ffee"},
      {LanesWanted{3}, "0803"},
      {SocketCapacity{212'992}, "090000000000034000"},
      {CallMeMaybe{0x01020304,
                   7,
                   PunchMode::FreshPort,
                   MappingBehaviour::Sequential,
                   {{CandidateKind::Host, *Endpoint::parse("192.168.1.2:40000")},
                    {CandidateKind::Predicted, *Endpoint::parse("[2001:db8::1]:4660")}}},
       "1001020304000000070203020100000000000000000000ffffc0a801029c400420010db8000000000000000000000001123"
       "4"},
      {UnknownMsg{0x1f, *from_hex("aabb")}, "1faabb"},
  };
  for (const Golden& golden : goldens) {
    const Bytes bytes = serialize(golden.message);
    EXPECT_EQ(to_hex(bytes), golden.hex);
    EXPECT_EQ(parse_session_msg(bytes), golden.message);
    if (std::holds_alternative<UnknownMsg>(golden.message)) continue;
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_EQ(parse_session_msg(ByteView(bytes).first(size)), std::unexpected(WireError::Truncated));
    Bytes longer = bytes;
    longer.push_back(std::byte{0xff});
    EXPECT_EQ(parse_session_msg(longer), golden.message) << "later versions append fields";
  }
}

TEST(SessionMsg, ImpossibleValuesAreRefused) {
  EXPECT_EQ(parse_session_msg(*from_hex("0300")), std::unexpected(WireError::BadValue));
  EXPECT_EQ(parse_session_msg(*from_hex("0307")), std::unexpected(WireError::BadValue));
  EXPECT_EQ(parse_session_msg(*from_hex("040000c9")), std::unexpected(WireError::TooLong));
  EXPECT_EQ(parse_session_msg(*from_hex("0703e9")), std::unexpected(WireError::TooLong));
}

TEST(SessionMsg, ALongCloseReasonIsCutWhenWritten) {
  const auto parsed = parse_session_msg(serialize(Close{1, std::string(300, 'x')}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(std::get<Close>(*parsed).reason, std::string(200, 'x'));
}

struct Keys {
  std::unique_ptr<Aead> one = make_aead(AeadKind::ChaCha20Poly1305, Secret<32>());
};

TEST(ControlPacket, RoundTripsAndHasItsGoldenHeader) {
  Keys keys;
  const ControlHeader header{0x01020304, 5};
  const ControlBody body{7, 1, 9, to_bytes(as_bytes("hello"))};
  const Bytes packet = seal_control(*keys.one, header, body);
  EXPECT_EQ(to_hex(packet).substr(0, 26), "90010203040000000000000005");
  EXPECT_EQ(packet.size(), 13u + 16 + 5 + 16);
  EXPECT_EQ(ControlHeader::parse(packet), header);
  EXPECT_EQ(control_receiver_index(packet), 0x01020304u);
  EXPECT_EQ(open_control(*keys.one, packet), body);
}

TEST(ControlPacket, EveryAlteredByteAndTruncationIsRefused) {
  Keys keys;
  const Bytes packet = seal_control(*keys.one, {1, 2}, {1, 0, 1, to_bytes(as_bytes("m"))});
  for (std::size_t i = 0; i < packet.size(); ++i) {
    Bytes altered = packet;
    altered[i] ^= std::byte{0x80};
    EXPECT_FALSE(open_control(*keys.one, altered)) << i;
    EXPECT_FALSE(open_control(*keys.one, ByteView(packet).first(i))) << i;
  }
}

TEST(ControlPacket, AMessageWithoutNumberIsRefused) {
  EXPECT_EQ(ControlBody::parse(*from_hex("00000001000000000000000000000000aa")),
            std::unexpected(WireError::BadValue));
  EXPECT_EQ(ControlBody::parse(*from_hex("00000001000000000000000000000001")),
            std::unexpected(WireError::BadValue));
}

}  // namespace
}  // namespace dh::wire
