#include "wire/path_probe.hh"

#include <gtest/gtest.h>

namespace dh::wire {
namespace {

Bytes body_of(ProbeKind kind, std::size_t size) {
  Bytes plain;
  Writer writer(plain);
  ProbeBody{kind, 0x0102030405060708, *Endpoint::parse("1.2.3.4:258")}.serialize(writer);
  plain.resize(size);
  return plain;
}

TEST(PathProbe, HasTheseBytes) {
  EXPECT_EQ(to_hex(body_of(ProbeKind::Ping, ProbeBody::kSize)),
            "01010203040506070800000000000000000000ffff0102030401020000000000");
  Bytes front;
  Writer writer(front);
  ProbeHeader{0xa1b2c3d4, 7}.serialize(writer);
  EXPECT_EQ(to_hex(front), "b0a1b2c3d40000000000000007");
}

TEST(PathProbe, APingMayHaveAnySizeWithinItsLimitsAndAPongOnlyOne) {
  for (const std::size_t size : {0u, 12u, 60u, 9001u, 65'507u}) {
    Bytes datagram(size);
    if (size > 0) datagram[0] = std::byte{ProbeHeader::kFirstByte};
    EXPECT_FALSE(ProbeHeader::parse(datagram)) << size;
  }
  for (const std::size_t size : {61u, 62u, 1200u, 9000u}) {
    Bytes datagram(size);
    datagram[0] = std::byte{ProbeHeader::kFirstByte};
    EXPECT_TRUE(ProbeHeader::parse(datagram)) << size;
    const std::size_t plain = size - ProbeHeader::kSize - 16;
    const auto ping = ProbeBody::parse(body_of(ProbeKind::Ping, plain));
    ASSERT_TRUE(ping) << size;
    EXPECT_EQ(ping->transaction, 0x0102030405060708u);
    EXPECT_EQ(ProbeBody::parse(body_of(ProbeKind::Pong, plain)).has_value(), size == 61);
  }
  EXPECT_FALSE(ProbeBody::parse(body_of(ProbeKind::Ping, 31)));
}

TEST(PathProbe, WhatFillsALongPingMeansNothing) {
  Bytes plain = body_of(ProbeKind::Ping, 500);
  for (std::size_t i = ProbeBody::kSize; i < plain.size(); ++i) plain[i] = std::byte{0xee};
  EXPECT_EQ(ProbeBody::parse(plain), ProbeBody::parse(body_of(ProbeKind::Ping, ProbeBody::kSize)));
}

}  // namespace
}  // namespace dh::wire
