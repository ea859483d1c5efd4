#include "wire/handshake_msg.hh"

#include <gtest/gtest.h>

#include "wire/datagram.hh"

namespace dh::wire {
namespace {

template <std::size_t N>
ByteArray<N> filled(unsigned value) {
  ByteArray<N> out;
  out.fill(static_cast<std::byte>(value));
  return out;
}
std::string repeated(std::string_view hex, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += hex;
  return out;
}

template <typename Message>
void expect_exact_size(const Message& message) {
  Bytes packet = message.serialize();
  ASSERT_EQ(packet.size(), Message::kSize);
  EXPECT_EQ(Message::parse(packet), message);
  for (std::size_t size = 0; size < packet.size(); ++size)
    EXPECT_EQ(Message::parse(ByteView(packet).first(size)), std::unexpected(WireError::Truncated));
  packet.push_back(std::byte{0});
  EXPECT_EQ(Message::parse(packet), std::unexpected(WireError::TooLong));
}

TEST(HandshakeMsg, M1HasItsGoldenBytesInADiscoEnvelope) {
  HandshakeM1 m1;
  m1.initiator_derp.bytes = filled<32>(0x01);
  m1.sender_index = 0x02030405;
  m1.noise = filled<108>(0x06);
  m1.mac1 = filled<16>(0x07);
  m1.mac2 = filled<16>(0x08);
  EXPECT_EQ(to_hex(m1.serialize()), "5453f09f92ac" + repeated("01", 32) + "a10102030405" +
                                        repeated("06", 108) + repeated("07", 16) + repeated("08", 16));
  EXPECT_GE(HandshakeM1::kSize, 62u);
  expect_exact_size(m1);
  EXPECT_EQ(datagram_kind(m1.serialize()), DatagramKind::Handshake);
}

TEST(HandshakeMsg, M2HasItsGoldenBytes) {
  const HandshakeM2 m2{1, 2, filled<48>(0x03), filled<16>(0x04)};
  EXPECT_EQ(to_hex(m2.serialize()), "a2010000000100000002" + repeated("03", 48) + repeated("04", 16));
  expect_exact_size(m2);
  EXPECT_EQ(datagram_kind(m2.serialize()), DatagramKind::Handshake);
}

TEST(HandshakeMsg, CookieReplyHasItsGoldenBytes) {
  const CookieReply reply{1, filled<24>(0x02), filled<32>(0x03)};
  EXPECT_EQ(to_hex(reply.serialize()), "a30100000001" + repeated("02", 24) + repeated("03", 32));
  expect_exact_size(reply);
}

TEST(HandshakeMsg, AnotherTypeOrVersionIsRefused) {
  Bytes packet = HandshakeM2{}.serialize();
  packet[1] = std::byte{2};
  EXPECT_EQ(HandshakeM2::parse(packet), std::unexpected(WireError::BadValue));
  packet[0] = std::byte{0xa3};
  EXPECT_EQ(HandshakeM2::parse(packet), std::unexpected(WireError::BadMagic));
  packet = HandshakeM1{}.serialize();
  packet[0] ^= std::byte{1};
  EXPECT_EQ(HandshakeM1::parse(packet), std::unexpected(WireError::BadMagic));
}

TEST(DatagramKind, IsReadFromTheFirstByte) {
  const auto kind = [](unsigned first) {
    const std::byte byte{static_cast<unsigned char>(first)};
    return datagram_kind(ByteView(&byte, 1));
  };
  EXPECT_EQ(kind(0x80), DatagramKind::Bulk);
  EXPECT_EQ(kind(0x8f), DatagramKind::Bulk);
  EXPECT_EQ(kind(0x90), DatagramKind::Control);
  EXPECT_EQ(kind(0xa2), DatagramKind::Handshake);
  EXPECT_EQ(kind(0xb0), DatagramKind::Probe);
  EXPECT_EQ(kind(0xc0), DatagramKind::Unknown);
  EXPECT_EQ(kind(0x54), DatagramKind::Unknown);
  EXPECT_EQ(kind(0x00), DatagramKind::Unknown);
  EXPECT_EQ(datagram_kind({}), DatagramKind::Unknown);
}

}  // namespace
}  // namespace dh::wire
