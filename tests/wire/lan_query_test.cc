#include "wire/lan_query.hh"

#include <gtest/gtest.h>

namespace dh::wire {
namespace {

ByteArray<16> filled(unsigned char value) {
  ByteArray<16> bytes;
  bytes.fill(std::byte{value});
  return bytes;
}

const std::string kNonce = "11111111111111111111111111111111", kTag = "22222222222222222222222222222222";

TEST(LanQuery, QuestionHasTheseBytes) {
  const LanQuestion question{filled(0x11), {filled(0x22), filled(0x22)}};
  const Bytes bytes = question.serialize();
  EXPECT_EQ(bytes.size(), LanQuestion::kSize);
  EXPECT_EQ(to_hex(bytes), "64786c6e0101" + kNonce + "02" + kTag + kTag + std::string(146, '0'));
  EXPECT_EQ(LanQuestion::parse(bytes), question);
}

TEST(LanQuery, AnswerHasTheseBytes) {
  LanAnswer answer;
  answer.nonce = filled(0x11);
  answer.salt.fill(std::byte{0x33});
  answer.sealed.fill(std::byte{0x44});
  std::string hex = "64786c6e0201" + kNonce + "3333333333333333";
  for (int i = 0; i < 50; ++i) hex += "44";
  EXPECT_EQ(to_hex(answer.serialize()), hex);
  EXPECT_EQ(LanAnswer::parse(*from_hex(hex)), answer);
}

TEST(LanQuery, RefusesEveryOtherSizeTypeAndVersion) {
  const Bytes question = LanQuestion{{}, {filled(1)}}.serialize(), answer = LanAnswer{}.serialize();
  for (std::size_t size = 0; size < question.size(); ++size)
    EXPECT_FALSE(LanQuestion::parse(ByteView(question).first(size)));
  for (std::size_t size = 0; size < answer.size(); ++size)
    EXPECT_FALSE(LanAnswer::parse(ByteView(answer).first(size)));
  EXPECT_FALSE(LanAnswer::parse(question));
  EXPECT_FALSE(LanQuestion::parse(answer));
  for (const std::size_t at : {0u, 4u, 5u, 22u, 127u}) {  // magic, type, version, count, padding
    Bytes altered = question;
    altered[at] = std::byte{9};
    EXPECT_FALSE(LanQuestion::parse(altered)) << at;
  }
  Bytes none = question;
  none[22] = std::byte{0};
  EXPECT_EQ(LanQuestion::parse(none).error(), WireError::BadValue);
}

}  // namespace
}  // namespace dh::wire
