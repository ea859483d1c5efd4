#include "wire/code_msg.hh"

#include <gtest/gtest.h>

namespace dh::wire {
namespace {

template <std::size_t N>
ByteArray<N> filled(unsigned char value) {
  ByteArray<N> bytes;
  bytes.fill(std::byte{value});
  return bytes;
}

std::string repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

struct Sample {
  CodeMsg message;
  std::string hex;
};

std::vector<Sample> samples() {
  const auto r = filled<16>(0x11), s = filled<16>(0x22), cookie = filled<16>(0x33);
  const auto point = filled<32>(0x44);
  const auto tag = filled<64>(0x55);
  const PublicKey key{filled<32>(0x66)};
  const std::string r16 = repeat("11", 16), s16 = repeat("22", 16), c16 = repeat("33", 16);
  return {
      {CodeRing{key, r}, "5453f09f92ac" + repeat("66", 32) + "c001" + r16 + repeat("00", 8)},
      {CodeHello{key, r}, "5453f09f92ac" + repeat("66", 32) + "c101" + r16 + repeat("00", 8)},
      {CodeCookie{r, s, cookie}, "c201" + r16 + s16 + c16},
      {CodeShareR{7, r, s, cookie, point}, "c30100000007" + r16 + s16 + c16 + repeat("44", 32)},
      {CodeShareS{7, s, point}, "c40100000007" + s16 + repeat("44", 32)},
      {CodeProof{s, tag}, "c501" + s16 + repeat("55", 64)},
      {CodeGift{s, tag, Bytes(17, std::byte{0x77})}, "c601" + s16 + repeat("55", 64) + repeat("77", 17)},
      {CodeRefusal{s, CodeRefusal::Reason::Burnt}, "c701" + s16 + "02"},
  };
}

TEST(CodeMsg, HasTheseBytes) {
  for (const Sample& sample : samples()) {
    EXPECT_EQ(to_hex(serialize(sample.message)), sample.hex);
    const auto parsed = parse_code_msg(*from_hex(sample.hex));
    ASSERT_TRUE(parsed) << sample.hex;
    EXPECT_EQ(*parsed, sample.message);
  }
}

TEST(CodeMsg, EveryTruncationIsRefused) {
  for (const Sample& sample : samples()) {
    const Bytes whole = *from_hex(sample.hex);
    const bool gift = std::holds_alternative<CodeGift>(sample.message);
    for (std::size_t size = 0; size < whole.size() - (gift ? 1 : 0); ++size)
      EXPECT_FALSE(parse_code_msg(ByteView(whole).first(size))) << sample.hex << " cut at " << size;
  }
}

TEST(CodeMsg, RefusesOtherVersionsTypesAndSizes) {
  for (const Sample& sample : samples()) {
    Bytes bytes = *from_hex(sample.hex);
    const std::size_t version_at = bytes[0] == std::byte{0x54} ? 39 : 1;
    bytes[version_at] = std::byte{2};
    EXPECT_EQ(parse_code_msg(bytes).error(), WireError::BadValue);
    bytes[version_at] = std::byte{1};
    bytes[version_at - 1] = std::byte{0xcf};
    EXPECT_EQ(parse_code_msg(bytes).error(), WireError::BadMagic);
    if (std::holds_alternative<CodeGift>(sample.message)) continue;
    Bytes longer = *from_hex(sample.hex);
    longer.push_back(std::byte{0});
    EXPECT_EQ(parse_code_msg(longer).error(), WireError::TooLong);
  }
}

TEST(CodeMsg, RefusesImpossibleFields) {
  Bytes ring = serialize(CodeRing{});
  ring.back() = std::byte{1};
  EXPECT_EQ(parse_code_msg(ring).error(), WireError::BadValue);
  Bytes refusal = serialize(CodeRefusal{});
  refusal.back() = std::byte{4};
  EXPECT_EQ(parse_code_msg(refusal).error(), WireError::BadValue);
  const Bytes gift = serialize(CodeGift{{}, {}, Bytes(CodeGift::kMaxSealed + 1)});
  EXPECT_EQ(parse_code_msg(gift).error(), WireError::TooLong);
}

}  // namespace
}  // namespace dh::wire
