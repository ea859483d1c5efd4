#include "wire/stun_behaviour.hh"

#include <array>

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

TEST(StunBehaviour, AsksForWhatTheServerReads) {
  const auto id = array_from_hex<12>("000102030405060708090a0b").value();
  for (const bool address : {false, true}) {
    for (const bool port : {false, true}) {
      const BehaviourRequest request{.id = id, .change_address = address, .change_port = port};
      EXPECT_EQ(parse_behaviour_request(make_behaviour_request(request)), request);
    }
  }
  EXPECT_EQ(to_hex(make_behaviour_request({.id = id})), "00010000" + std::string(kHeader));
  EXPECT_EQ(to_hex(make_behaviour_request({.id = id, .change_address = true, .change_port = true})),
            "00010008" + std::string(kHeader) + "0003000400000006");
}

TEST(StunBehaviour, ReadsWhereElseTheServerAnswersFrom) {
  const auto id = array_from_hex<12>("000102030405060708090a0b").value();
  const auto at = [](std::string_view text) { return Endpoint::parse(text).value(); };
  for (const auto& [source, origin, other] :
       {std::array{"192.0.2.1:32853", "198.51.100.1:3478", "198.51.100.2:3479"},
        std::array{"[2001:db8::1]:1", "[2001:db8::2]:2", "[2001:db8::3]:3"}}) {
    const Bytes bytes = make_behaviour_reply(id, at(source), at(origin), at(other));
    const BehaviourReply expected{id, at(source), at(origin), at(other)};
    EXPECT_EQ(parse_behaviour_reply(bytes).value(), expected);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(parse_behaviour_reply(ByteView(bytes).first(size))) << size;
  }
}

TEST(StunBehaviour, APlainAnswerNamesNoOtherAddress) {
  const auto parse_reply_with = [](std::string_view length, std::string_view attributes) {
    return parse_behaviour_reply(
        from_hex("0101" + std::string(length) + std::string(kHeader) + std::string(attributes)).value());
  };
  const std::string mapped = "002000080001a147e112a643";
  EXPECT_FALSE(parse_reply_with("000c", mapped)->other);
  EXPECT_FALSE(parse_reply_with("0014", mapped + "802c000400030d97")->other);  // no such family
  EXPECT_FALSE(parse_reply_with("0014", mapped + "802c000400010d97")->other);  // too short for its family
  EXPECT_FALSE(parse_reply_with("000c", "802c000800010d97c6336402"));          // names no mapped address
}

}  // namespace
}  // namespace dh::wire::stun
