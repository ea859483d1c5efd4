#include "base/bytes.hh"

#include <gtest/gtest.h>

namespace dh {
namespace {

TEST(Bytes, HexRoundTripsAndRejectsOthers) {
  EXPECT_EQ(to_hex(*from_hex("00fFa5")), "00ffa5");
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
}

TEST(Bytes, Base64UrlMatchesRfc4648WithoutPadding) {
  EXPECT_EQ(to_base64url(as_bytes("")), "");
  EXPECT_EQ(to_base64url(as_bytes("f")), "Zg");
  EXPECT_EQ(to_base64url(as_bytes("fo")), "Zm8");
  EXPECT_EQ(to_base64url(as_bytes("foobar")), "Zm9vYmFy");
  for (std::string_view text : {"", "f", "fo", "foo", "foob", "fooba", "\xff\xfe\xfd"})
    EXPECT_EQ(as_text(*from_base64url(to_base64url(as_bytes(text)))), text);
  EXPECT_FALSE(from_base64url("Z"));
  EXPECT_FALSE(from_base64url("Zg=="));
  EXPECT_FALSE(from_base64url("Zh"));  // spare bits set
}

TEST(Bytes, Crc32MatchesTheCheckValue) {
  EXPECT_EQ(crc32(as_bytes("123456789")), 0xcbf43926u);
}

TEST(Reader, AShortReadMarksItBadForGood) {
  const Bytes bytes = *from_hex("0102030405");
  Reader reader(bytes);
  EXPECT_EQ(reader.u16(), 0x0102);
  EXPECT_EQ(reader.u32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.u8(), 0u);
}

TEST(Writer, WritesBigEndian) {
  Bytes out;
  Writer writer(out);
  writer.u16(0x0102);
  writer.u32(0x03040506);
  writer.u64(0x0708090a0b0c0d0eu);
  EXPECT_EQ(to_hex(out), "0102030405060708090a0b0c0d0e");
}

}  // namespace
}  // namespace dh
