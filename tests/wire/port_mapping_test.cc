#include <gtest/gtest.h>

#include "wire/nat_pmp.hh"
#include "wire/pcp.hh"

namespace dh::wire {
namespace {

Bytes hex(std::string text) {
  std::erase_if(text, [](char c) { return c == ' '; });
  return from_hex(text).value();
}

template <typename Message>
std::string bytes_of(const Message& message) {
  Bytes out;
  Writer w(out);
  message.serialize(w);
  return to_hex(out);
}

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

const std::string kMapRequest =
    "02010000 00000078 00000000 00000000 0000ffff c0a80b02 00010203 04050607 08090a0b 11000000 a2a9a2a9 "
    "00000000 00000000 0000ffff 00000000";
const std::string kMapReply =
    "02810000 00000078 00000001 00000000 00000000 00000000 00010203 04050607 08090a0b 11000000 a2a9a2a9 "
    "00000000 00000000 0000ffff 05050515";

pcp::Mapping golden_mapping(std::string_view external) {
  pcp::Mapping mapping;
  mapping.nonce = array_from_hex<12>("000102030405060708090a0b").value();
  mapping.internal_port = 41641;
  mapping.external_port = 41641;
  mapping.external_address = address(external);
  return mapping;
}

TEST(NatPmpMessages, HaveTheBytesOfARealGateway) {
  EXPECT_EQ(bytes_of(nat_pmp::AddressRequest{}), "0000");
  const nat_pmp::MapRequest request{
      .internal_port = 42000, .external_port = 42000, .lifetime = std::chrono::duration<std::uint32_t>(60)};
  EXPECT_EQ(to_hex(hex("00010000 a410a410 0000003c")), bytes_of(request));
  EXPECT_EQ(nat_pmp::parse_request(hex("00010000 a410a410 0000003c")), nat_pmp::Request(request));
  EXPECT_EQ(nat_pmp::parse_request(hex("0000")), nat_pmp::Request(nat_pmp::AddressRequest{}));

  nat_pmp::MapReply reply;
  reply.epoch = std::chrono::duration<std::uint32_t>(3);
  reply.internal_port = reply.external_port = 42000;
  reply.lifetime = std::chrono::duration<std::uint32_t>(60);
  EXPECT_EQ(nat_pmp::parse_reply(hex("00810000 00000003 a410a410 0000003c")), nat_pmp::Reply(reply));
  EXPECT_EQ(bytes_of(reply), "0081000000000003a410a4100000003c");

  const nat_pmp::AddressReply outer{.epoch = std::chrono::duration<std::uint32_t>(3),
                                    .external = IpAddress::v4(5, 5, 5, 21)};
  EXPECT_EQ(nat_pmp::parse_reply(hex("00800000 00000003 05050515")), nat_pmp::Reply(outer));
  EXPECT_EQ(bytes_of(outer), "008000000000000305050515");

  const nat_pmp::Refusal refusal{.opcode = 9,
                                 .result = nat_pmp::Result::OpcodeUnsupported,
                                 .epoch = std::chrono::duration<std::uint32_t>(4)};
  EXPECT_EQ(nat_pmp::parse_reply(hex("00890005 00000004")), nat_pmp::Reply(refusal));
  EXPECT_EQ(bytes_of(refusal), "0089000500000004");
}

TEST(NatPmpReply, OfARefusalNeedsNoMoreThanItsEpoch) {
  const auto no_wan = nat_pmp::parse_reply(hex("00800003 00000009 00000000"));
  ASSERT_TRUE(no_wan);
  EXPECT_EQ(std::get<nat_pmp::Refusal>(*no_wan).result, nat_pmp::Result::NetworkFailure);
  const auto unknown = nat_pmp::parse_reply(hex("0081ffff 00000009"));
  ASSERT_TRUE(unknown);
  EXPECT_EQ(to_string(std::get<nat_pmp::Refusal>(*unknown).result), "unassigned result");
}

TEST(NatPmpReply, IsRefusedWhenShortForeignOrOfAnUnknownOpcode) {
  for (const char* whole : {"0080000000000003 05050515", "0081000000000003 a410a410 0000003c"}) {
    const Bytes bytes = hex(whole);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_EQ(nat_pmp::parse_reply(ByteView(bytes).first(size)), std::unexpected(WireError::Truncated))
          << size;
  }
  EXPECT_EQ(nat_pmp::parse_reply(hex("0180000000000003 05050515")), std::unexpected(WireError::BadMagic));
  EXPECT_EQ(nat_pmp::parse_reply(hex("0000000000000003 05050515")), std::unexpected(WireError::BadMagic));
  EXPECT_EQ(nat_pmp::parse_reply(hex("0083000000000003 05050515")), std::unexpected(WireError::BadValue));
  EXPECT_EQ(nat_pmp::parse_request(hex("000000")), std::unexpected(WireError::TooLong));
  EXPECT_EQ(nat_pmp::parse_request(hex("00030000 a410a410 0000003c")), std::unexpected(WireError::BadValue));
  EXPECT_EQ(nat_pmp::parse_request(hex("00010000 a410a410 000000")), std::unexpected(WireError::Truncated));
}

TEST(PcpMessages, HaveTheBytesOfARealGateway) {
  pcp::Request announce;
  announce.client = address("192.168.11.2");
  EXPECT_EQ(bytes_of(announce), to_hex(hex("02000000 00000000 00000000 00000000 0000ffff c0a80b02")));
  pcp::Request map = announce;
  map.lifetime = std::chrono::duration<std::uint32_t>(120);
  map.mapping = golden_mapping("0.0.0.0");
  EXPECT_EQ(bytes_of(map), to_hex(hex(kMapRequest)));
  EXPECT_EQ(pcp::Request::parse(hex(kMapRequest)), map);

  pcp::Reply present;
  present.epoch = std::chrono::duration<std::uint32_t>(1);
  const auto announce_reply = hex("02800000 00000000 00000001 00000000 00000000 00000000");
  EXPECT_EQ(pcp::Reply::parse(announce_reply), present);
  EXPECT_EQ(bytes_of(present), to_hex(announce_reply));
  pcp::Reply mapped = present;
  mapped.opcode = 1;
  mapped.lifetime = std::chrono::duration<std::uint32_t>(120);
  mapped.mapping = golden_mapping("5.5.5.21");
  EXPECT_EQ(pcp::Reply::parse(hex(kMapReply)), mapped);
  EXPECT_EQ(bytes_of(mapped), to_hex(hex(kMapReply)));
}

TEST(PcpMessages, CarryIpv6AddressesAsTheyAre) {
  pcp::Request request;
  request.client = address("2001:db8:11::2");
  request.mapping = golden_mapping("::");
  const std::string bytes = bytes_of(request);
  EXPECT_EQ(bytes.substr(16, 32), "20010db8001100000000000000000002");
  EXPECT_EQ(bytes.substr(bytes.size() - 32), std::string(32, '0'));
  EXPECT_EQ(pcp::Request::parse(from_hex(bytes).value()), request);
}

TEST(PcpReply, SaysWhyItRefused) {
  const auto refused = [](const char* head) {
    return pcp::Reply::parse(hex(std::string(head) + "00000000 00000001 00000000 00000000 00000000"));
  };
  EXPECT_EQ(refused("0281000c")->result, pcp::Result::AddressMismatch);
  EXPECT_EQ(refused("02810005")->result, pcp::Result::UnsupportedOption);
  EXPECT_EQ(refused("02e30004")->result, pcp::Result::UnsupportedOpcode);
  EXPECT_EQ(refused("02e30004")->opcode, 99);
  EXPECT_EQ(refused("02810001")->result, pcp::Result::UnsupportedVersion);
  EXPECT_FALSE(refused("02810001")->mapping);
  EXPECT_EQ(to_string(refused("028100ff")->result), "unassigned result");
}

TEST(PcpReply, IsRefusedWhenShortForeignOrOdd) {
  const Bytes whole = hex(kMapReply);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(pcp::Reply::parse(ByteView(whole).first(size))) << size;
  auto with_option = whole;
  with_option.resize(whole.size() + 8);
  EXPECT_EQ(pcp::Reply::parse(with_option), pcp::Reply::parse(whole));
  auto odd = whole;
  odd.resize(whole.size() + 1);
  EXPECT_EQ(pcp::Reply::parse(odd), std::unexpected(WireError::BadValue));
  auto long_one = whole;
  long_one.resize(1104);
  EXPECT_EQ(pcp::Reply::parse(long_one), std::unexpected(WireError::TooLong));
  auto other = whole;
  other[0] = std::byte{0};
  EXPECT_EQ(pcp::Reply::parse(other), std::unexpected(WireError::BadMagic));
  other = whole;
  other[36] = std::byte{1};  // ICMP
  EXPECT_EQ(pcp::Reply::parse(other), std::unexpected(WireError::BadValue));
  EXPECT_EQ(pcp::Reply::parse(hex(kMapRequest)), std::unexpected(WireError::BadMagic));
  EXPECT_EQ(pcp::Request::parse(whole), std::unexpected(WireError::BadMagic));
}

}  // namespace
}  // namespace dh::wire
