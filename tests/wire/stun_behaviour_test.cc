#include "wire/stun_behaviour.hh"

#include <gtest/gtest.h>

namespace dh::wire::stun {
namespace {

constexpr std::string_view kHeader = "2112a442000102030405060708090a0b";

std::optional<BehaviourRequest> parse(std::string_view length, std::string_view attributes) {
  return parse_behaviour_request(
      from_hex("0001" + std::string(length) + std::string(kHeader) + std::string(attributes)).value());
}

TEST(StunBehaviour, ReadsWhatTheClientWantsChanged) {
  EXPECT_TRUE(parse("0000", ""));
  EXPECT_FALSE(parse("0000", "")->change_address);
  const auto both = parse("0008", "0003000400000006");
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->change_address && both->change_port);
  EXPECT_EQ(to_hex(both->id), "000102030405060708090a0b");
  EXPECT_FALSE(parse("0008", "0003000400000002")->change_address);
  EXPECT_FALSE(parse("0008", "0003000400000004")->change_port);
  EXPECT_TRUE(parse("000c",
                    "8022000378787800"
                    "80280000"));  // optional attributes are skipped
}

TEST(StunBehaviour, RefusesWhatItMustUnderstandAndDoesNot) {
  EXPECT_FALSE(parse("0008", "0003000400000001"));          // a flag of its own
  EXPECT_FALSE(parse("0004", "00270000"));                  // RESPONSE-PORT
  EXPECT_FALSE(parse("0008", "000300080000000600000000"));  // length lies
  EXPECT_FALSE(parse("0004", ""));
  EXPECT_FALSE(parse("0000", "00"));
  EXPECT_FALSE(parse_behaviour_request(from_hex("0101000020112a442").value_or(Bytes{})));
}

TEST(StunBehaviour, RefusesEveryTruncation) {
  const Bytes whole = from_hex("00010008" + std::string(kHeader) + "0003000400000006").value();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse_behaviour_request(ByteView(whole).first(size))) << size;
}

TEST(StunBehaviour, NamesAllThreeAddresses) {
  const auto id = array_from_hex<12>("000102030405060708090a0b").value();
  const auto at = [](std::string_view text) { return Endpoint::parse(text).value(); };
  EXPECT_EQ(to_hex(make_behaviour_reply(id, at("192.0.2.1:32853"), at("198.51.100.1:3478"),
                                        at("198.51.100.2:3479"))),
            "01010024" + std::string(kHeader) + "002000080001a147e112a643" + "802b000800010d96c6336401" +
                "802c000800010d97c6336402");
  EXPECT_EQ(make_behaviour_reply(id, at("[2001:db8::1]:1"), at("[::1]:2"), at("[::2]:3")).size(), 92u);
}

}  // namespace
}  // namespace dh::wire::stun
