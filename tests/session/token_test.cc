#include "session/token.hh"

#include <gtest/gtest.h>

#include "session/token_samples.hh"

namespace dh::session {
namespace {

// The token of sample_token(), written down so that the format cannot drift.
constexpr std::string_view kGolden =
    "dh1AQDvgRARERERERERERERERERERERggRrSdIAgwEChCAiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIoUgMzMzMzMzM"
    "zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzOGIEQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAhxkEAAwSZGVycDEyLmV4Y"
    "W1wbGUuY29tDZYAh0obAAERcAsxOTIuMTY4LjEuNSD7VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVUCBMCoAQUG_QAAA"
    "AAAAAAAAAAAAAAABVJ2c_c";

Bytes payload(const Token& token) {
  return *from_base64url(std::string_view(format_token(token)).substr(3));
}

// Length and checksum made right again after a change.
std::string resealed(Bytes bytes) {
  bytes[1] = static_cast<std::byte>(bytes.size() >> 8);
  bytes[2] = static_cast<std::byte>(bytes.size() & 0xff);
  store_be32(bytes.data() + bytes.size() - 4, crc32(ByteView(bytes).first(bytes.size() - 4)));
  return "dh1" + to_base64url(bytes);
}

std::string with_field(std::uint8_t type, std::string_view hex) {
  Bytes bytes = payload(sample_token());
  Bytes field;
  Writer writer(field);
  const Bytes value = *from_hex(hex);
  writer.u8(type);
  writer.u8(static_cast<std::uint8_t>(value.size()));
  writer.bytes(value);
  bytes.insert(bytes.end() - 4, field.begin(), field.end());
  return resealed(bytes);
}

TEST(Token, MatchesItsGoldenText) {
  EXPECT_EQ(format_token(sample_token()), kGolden);
  EXPECT_EQ(parse_token(kGolden), sample_token());
}

TEST(Token, WhitespaceAroundItIsIgnored) {
  EXPECT_EQ(parse_token(" \r\n" + std::string(kGolden) + "\n\t"), sample_token());
}

TEST(Token, EveryTruncationIsCalledTruncated) {
  for (std::size_t size = 3; size < kGolden.size(); ++size)
    EXPECT_EQ(parse_token(kGolden.substr(0, size)), std::unexpected(TokenError::Truncated)) << size;
  for (std::size_t size = 0; size < 3; ++size)
    EXPECT_EQ(parse_token(kGolden.substr(0, size)), std::unexpected(TokenError::NotAToken)) << size;
}

TEST(Token, EverySingleBitFlipIsAnError) {
  for (std::size_t at = 0; at < kGolden.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string text(kGolden);
      text[at] = static_cast<char>(text[at] ^ (1 << bit));
      const auto parsed = parse_token(text);
      ASSERT_FALSE(parsed) << at << " " << bit;
      if (at > 6) {  // behind prefix and length there is only one explanation, or a lost last character
        EXPECT_TRUE(parsed.error() == TokenError::Mistyped ||
                    (at + 1 == kGolden.size() && parsed.error() == TokenError::Truncated))
            << at << " " << bit;
      }
    }
  }
}

TEST(Token, EverySwapOfNeighboursIsMistyped) {
  for (std::size_t at = 7; at + 1 < kGolden.size(); ++at) {
    std::string text(kGolden);
    if (text[at] == text[at + 1]) continue;
    std::swap(text[at], text[at + 1]);
    EXPECT_EQ(parse_token(text), std::unexpected(TokenError::Mistyped)) << at;
  }
}

TEST(Token, AddedCharactersAreMistyped) {
  EXPECT_EQ(parse_token(std::string(kGolden) + "A"), std::unexpected(TokenError::Mistyped));
  EXPECT_EQ(parse_token(std::string(kGolden) + "="), std::unexpected(TokenError::Mistyped));
  EXPECT_EQ(parse_token(std::string(kGolden) + " x"), std::unexpected(TokenError::Mistyped));
}

TEST(Token, KindIsToldByThePrefix) {
  EXPECT_EQ(token_kind(kGolden), TokenKind::OneShot);
  EXPECT_EQ(token_kind(" dts1AAAA"), TokenKind::TunnelServer);
  EXPECT_EQ(token_kind("dtc1AAAA"), TokenKind::TunnelClient);
  EXPECT_EQ(token_kind("DH1AAAA"), std::nullopt);
  EXPECT_EQ(token_kind(""), std::nullopt);
  EXPECT_EQ(parse_token("dts1" + std::string(kGolden.substr(3))), std::unexpected(TokenError::WrongKind));
  EXPECT_EQ(parse_token("hello"), std::unexpected(TokenError::NotAToken));
}

TEST(Token, ANewerVersionIsToldFromAMistypedOne) {
  Bytes bytes = payload(sample_token());
  bytes[0] = std::byte{2};
  EXPECT_EQ(parse_token(resealed(bytes)), std::unexpected(TokenError::UnsupportedVersion));
  bytes[0] = std::byte{0};
  EXPECT_EQ(parse_token(resealed(bytes)), std::unexpected(TokenError::Invalid));
}

TEST(Token, UnknownFieldsAreIgnoredUnlessCritical) {
  EXPECT_EQ(parse_token(with_field(0x20, "010203")), sample_token());
  EXPECT_EQ(parse_token(with_field(0xa0, "010203")), std::unexpected(TokenError::UnsupportedVersion));
}

TEST(Token, ImpossibleContentIsInvalid) {
  const auto invalid = std::unexpected(TokenError::Invalid);
  EXPECT_EQ(parse_token(with_field(0x82, "01")), invalid);              // twice
  EXPECT_EQ(parse_token(with_field(0x87, "00000c0161")), invalid);      // relay cut inside
  EXPECT_EQ(parse_token(with_field(0x87, "00000c01610000")), invalid);  // relay with a byte too many
  EXPECT_EQ(parse_token(with_field(0x87, "00000c012f00")), invalid);    // host "/"
  EXPECT_EQ(parse_token(with_field(0x87,
                                   "08000c01610000"
                                   "00")),
            invalid);                                                           // port 0
  EXPECT_EQ(parse_token(with_field(0x87, "00000c016109")), invalid);            // nine addresses
  EXPECT_EQ(parse_token(with_field(0x87, "00000c0161010400000000")), invalid);  // 0.0.0.0
  EXPECT_EQ(parse_token(with_field(0x87, "80000c016100")), std::unexpected(TokenError::UnsupportedVersion));
  EXPECT_TRUE(parse_token(with_field(0x87, "00000c016100")));
  Bytes bytes = payload(sample_token());
  bytes.erase(bytes.begin() + 3, bytes.begin() + 3 + 18);  // no session id
  EXPECT_EQ(parse_token(resealed(bytes)), invalid);
}

TEST(Token, HoldsFourFullRelaysButNotFive) {
  Token token = sample_token();
  RelayRef full = token.relays[1];
  full.plain_http = false;
  full.host = std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." +
              std::string(61, 'd');
  full.stun_port = 1;
  full.addresses.assign(8, *IpAddress::parse("fd00::5"));
  token.relays.assign(4, full);
  EXPECT_EQ(parse_token(format_token(token)), token);
  Bytes bytes = payload(sample_token());
  const Bytes extra = *from_hex("870600000c016100");
  for (int i = 0; i < 2; ++i) bytes.insert(bytes.end() - 4, extra.begin(), extra.end());
  EXPECT_TRUE(parse_token(resealed(bytes)));
  bytes.insert(bytes.end() - 4, extra.begin(), extra.end());
  EXPECT_EQ(parse_token(resealed(bytes)), std::unexpected(TokenError::Invalid));
}

TEST(Token, HostsAreNamesOrAddressesAndNothingElse) {
  for (std::string_view host : {"a", "derp1.example.com", "10.0.0.1", "fd00::1", "x-1.y"}) {
    Token token = sample_token();
    token.relays[0].host = host;
    EXPECT_EQ(parse_token(format_token(token)), token) << host;
  }
  for (std::string_view host :
       {"", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "a/b", "a:1", "\x1b[0m"}) {
    Bytes relay;
    Writer writer(relay);
    writer.u8(0);
    writer.u16(1);
    writer.u8(static_cast<std::uint8_t>(host.size()));
    writer.text(host);
    writer.u8(0);
    EXPECT_EQ(parse_token(with_field(0x87, to_hex(relay))), std::unexpected(TokenError::Invalid)) << host;
  }
}

TEST(Token, ATypicalOneFitsTwoTerminalLines) {
  Token token = sample_token();
  token.relays[1] = token.relays[0];
  EXPECT_LE(format_token(token).size(), 300u);
}

}  // namespace
}  // namespace dh::session
