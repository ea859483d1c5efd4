#include "wire/stun.hh"

#include <gtest/gtest.h>

namespace dh::wire::stun {
namespace {

Bytes hex(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
  return from_hex(text).value();
}

TransactionId filled(int value) {
  TransactionId id;
  id.fill(static_cast<std::byte>(value));
  return id;
}

Endpoint at(std::string_view text) {
  return Endpoint::parse(text).value();
}

TEST(StunRequest, HasTheGoldenBytes) {
  EXPECT_EQ(to_hex(make_request(filled(1))),
            "000100142112a442010101010101010101010101802200087461696c6e6f646580280004355f9b89");
  const auto counting = array_from_hex<12>("000102030405060708090a0b").value();
  EXPECT_EQ(to_hex(make_request(counting)),
            "000100142112a442000102030405060708090a0b802200087461696c6e6f6465802800048aabad90");
}

TEST(StunRequest, IsRecognisedAsTailnodeOnlyWithNameAndFingerprint) {
  const auto request = make_request(filled(7));
  const auto seen = classify(request);
  EXPECT_EQ(seen.kind, RequestKind::Tailnode);
  EXPECT_EQ(seen.id, filled(7));
  for (std::size_t i = 0; i < request.size(); ++i) {
    auto other = request;
    other[i] ^= std::byte{0x80};
    EXPECT_NE(classify(other).kind, RequestKind::Tailnode) << i;
  }
  for (std::size_t size = 0; size < request.size(); ++size)
    EXPECT_NE(classify(ByteView(request).first(size)).kind, RequestKind::Tailnode) << size;
}

TEST(StunRequest, IsPlainWithoutAttributesOrWithOptionalOnes) {
  const std::string cookie_and_id = "2112a442010101010101010101010101";
  EXPECT_EQ(classify(hex("00010000" + cookie_and_id)).kind, RequestKind::Plain);
  EXPECT_EQ(classify(hex("00010008" + cookie_and_id + "8022000461626364")).kind, RequestKind::Plain);
  EXPECT_EQ(classify(hex("00010008" + cookie_and_id + "8028000400000000")).kind, RequestKind::Unsupported);
  EXPECT_EQ(classify(hex("00010008" + cookie_and_id + "0003000400000006")).kind, RequestKind::Unsupported);
  EXPECT_EQ(classify(hex("00010008" + cookie_and_id)).kind, RequestKind::Unsupported);
  EXPECT_EQ(classify(hex("00010000" + cookie_and_id + "00")).kind, RequestKind::Unsupported);
  EXPECT_EQ(classify(hex("01010000" + cookie_and_id)).kind, RequestKind::Unsupported);
  EXPECT_EQ(classify(hex("00010000" + cookie_and_id.substr(2))).kind, RequestKind::NotStun);
}

TEST(StunHeader, IsToldByLengthTopBitsAndCookie) {
  const std::string rest = "0000002112a442000000000000000000000000";
  EXPECT_TRUE(has_header(hex("00" + rest)));
  EXPECT_TRUE(has_header(hex("00" + rest + "666f6f")));
  EXPECT_FALSE(has_header(hex(rest)));
  EXPECT_FALSE(has_header(hex("f0" + rest)));
  EXPECT_FALSE(has_header(hex("40" + rest)));
  EXPECT_FALSE(has_header({}));
  EXPECT_FALSE(has_header(Bytes(20)));
}

struct ReplyVector {
  const char* name;
  const char* bytes;
  const char* mapped;
};

constexpr ReplyVector kReplies[] = {
    {"google 1", "0101000c2112a4422360b11e3ec68ffa93e08007002000080001c7866957856f", "72.69.33.45:59028"},
    {"google 2", "0101000c2112a442f9f121cbde7d7c75923ce271002000080001c7876957856f", "72.69.33.45:59029"},
    {"sipgate",
     "010100442112a442482eb64715e8b28eaead6444000100080001e4ab4845212d0004000800012710d90a449800050008"
     "00012711d9747a8a802000080001c5b96957856f80220010566f766964612e6f726720302e393600",
     "72.69.33.45:58539"},
    {"powervoip",
     "010100242112a4427e57966829f444609d1deaa6000100080001e9d34845212d0004000800010d964d48a9d400050008"
     "00010d974d48a9d5",
     "72.69.33.45:59859"},
    {"pion with bytes after its end",
     "010100242112a442ebc2d36ef471217c4f3e308e8022000a656e64706f696e7465720000002000080001ce665e12a443"
     "80280004b699bb02010100242112a442",
     "127.0.0.1:61300"},
    {"stuntman 6",
     "010100482112a44206f56685d28af3e69ce341e200010014000290ce260200d1b4cfc10038b231fffeef96f6802b0014"
     "00020d962604a880000200d10000000000c57001002000140002b1dc0710a493b23aa785ea38c219620cd714",
     "[2602:d1:b4cf:c100:38b2:31ff:feef:96f6]:37070"},
    {"software of one letter",
     "010100142112a442ebc2d36ef471217c4f3e308e8022000161000000002000080001ce665e12a443", "127.0.0.1:61300"},
    {"software of three letters",
     "010100142112a442ebc2d36ef471217c4f3e308e8022000361626300002000080001ce665e12a443", "127.0.0.1:61300"},
    {"four in six",
     "010100182112a4424fd5d202dcb37d31fc773306002000140002cd3d2112a4424fd5d202dcb382ce2dc3fcc7",
     "209.180.207.193:60463"},
};

TEST(StunReply, ReadsWhatServersInTheWildSend) {
  for (const auto& vector : kReplies) {
    const Bytes bytes = hex(vector.bytes);
    const auto reply = parse_reply(bytes);
    ASSERT_TRUE(reply) << vector.name;
    EXPECT_EQ(reply->mapped, at(vector.mapped)) << vector.name;
    EXPECT_TRUE(equal_bytes(reply->id, ByteView(bytes).subspan(8, 12))) << vector.name;
  }
}

TEST(StunReply, NeverReadsPastItsEnd) {
  for (const auto& vector : kReplies) {
    const Bytes bytes = hex(vector.bytes);
    const std::size_t end = 20 + static_cast<std::size_t>(bytes[3]);
    for (std::size_t size = 0; size < end; ++size) {
      const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(parse_reply(cut)) << vector.name << " " << size;
    }
  }
}

TEST(StunReply, HasTheGoldenBytesOfBothFamilies) {
  const std::tuple<int, const char*, const char*> vectors[] = {
      {1, "1.2.3.4:254", "0101000c2112a44201010101010101010101010100200008000121ec2010a746"},
      {2, "1.2.3.4:257", "0101000c2112a44202020202020202020202020200200008000120132010a746"},
      {3, "[1::4]:254",
       "010100182112a44203030303030303030303030300200014000221ec2113a442030303030303030303030307"},
      {4, "[1::4]:257",
       "010100182112a44204040404040404040404040400200014000220132113a442040404040404040404040400"},
      {1, "[::ffff:1.2.3.4]:254", "0101000c2112a44201010101010101010101010100200008000121ec2010a746"},
  };
  for (const auto& [id, source, golden] : vectors) {
    const Bytes reply = make_reply(filled(id), at(source));
    EXPECT_EQ(to_hex(reply), golden) << source;
    EXPECT_EQ(parse_reply(reply)->mapped, at(source));
    EXPECT_EQ(parse_reply(reply)->id, filled(id));
  }
  EXPECT_EQ(
      parse_reply(
          hex("010100182112a44201010101010101010101010100200014000221ec2112a442010101010101fefe00030205"))
          ->mapped,
      at("1.2.3.4:254"));
}

TEST(StunReply, SaysWhyItIsNone) {
  EXPECT_EQ(parse_reply(as_bytes("hello")).error(), WireError::BadMagic);
  EXPECT_EQ(parse_reply(make_request(filled(1))).error(), WireError::BadValue);
  EXPECT_EQ(parse_reply(hex("010100002112a442010101010101010101010101")).error(), WireError::BadValue);
  EXPECT_EQ(parse_reply(hex("010100042112a442010101010101010101010101")).error(), WireError::Truncated);
  // A family nobody knows.
  EXPECT_EQ(parse_reply(hex("0101000c2112a44201010101010101010101010100200008000321ec2010a746")).error(),
            WireError::BadValue);
}

}  // namespace
}  // namespace dh::wire::stun
