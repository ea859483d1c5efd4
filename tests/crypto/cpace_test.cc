#include "crypto/cpace.hh"

#include <fstream>
#include <sstream>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "crypto/keys.hh"

namespace dh {
namespace {

namespace json = boost::json;

// Gives out a scalar that is smaller than the group's order: reducing it modulo the order changes nothing.
class GivenScalar final : public Rng {
public:
  explicit GivenScalar(Bytes scalar) : scalar_(std::move(scalar)) {}
  void fill(ByteSpan out) override {
    ASSERT_EQ(out.size(), 64u);
    std::fill(out.begin(), out.end(), std::byte{0});
    std::copy(scalar_.begin(), scalar_.end(), out.begin());
  }

private:
  Bytes scalar_;
};

class PublishedCpace : public ::testing::Test {
protected:
  void SetUp() override {
    crypto_init();
    std::ifstream file(std::string(DERPHOLE_TEST_VECTORS) + "/cpace.json");
    std::stringstream text;
    text << file.rdbuf();
    vector_ = json::parse(text.str()).as_object();
  }
  Bytes field(const char* name) { return *from_hex(std::string_view(vector_.at(name).as_string())); }
  CpacePoint point(const char* name) { return *array_from_hex<32>(to_hex(field(name))); }
  Cpace side(Cpace::Side which, const char* scalar, const char* data) {
    GivenScalar rng(field(scalar));
    const Bytes password = field("PRS"), channel = field("CI"), sid = field("sid");
    return Cpace(which, {password, channel, sid}, field(data), rng);
  }
  json::object vector_;
};

TEST_F(PublishedCpace, GeneratorIsTheDrafts) {
  const Bytes password = field("PRS"), channel = field("CI"), sid = field("sid");
  EXPECT_EQ(cpace_generator({password, channel, sid}), point("g"));
}

TEST_F(PublishedCpace, PointsAndKeyAreTheDrafts) {
  const Cpace a = side(Cpace::Side::Initiator, "ya", "ADa");
  const Cpace b = side(Cpace::Side::Responder, "yb", "ADb");
  EXPECT_EQ(a.point(), point("Ya"));
  EXPECT_EQ(b.point(), point("Yb"));
  const auto of_a = a.finish(b.point(), field("ADb")), of_b = b.finish(a.point(), field("ADa"));
  ASSERT_TRUE(of_a && of_b);
  EXPECT_EQ(of_a->isk, Secret<64>(*array_from_hex<64>(to_hex(field("ISK_IR")))));
  EXPECT_EQ(of_a->isk, of_b->isk);
  EXPECT_EQ(of_a->own_tag, of_b->peer_tag);
  EXPECT_EQ(of_a->peer_tag, of_b->own_tag);
  EXPECT_FALSE(of_a->own_tag == of_a->peer_tag);
}

TEST_F(PublishedCpace, RefusesTheDraftsInvalidPoints) {
  const Cpace a = side(Cpace::Side::Initiator, "ya", "ADa");
  for (const auto& value : vector_.at("invalid").as_array()) {
    const std::string_view text = value.as_string();
    EXPECT_FALSE(a.finish(*array_from_hex<32>(text), field("ADb"))) << text;
  }
}

TEST_F(PublishedCpace, RefusesEncodingsThatAreNotCanonical) {
  const Cpace a = side(Cpace::Side::Initiator, "ya", "ADa");
  CpacePoint negative = point("Yb");
  negative[0] ^= std::byte{1};  // an odd, so negative, field element
  EXPECT_FALSE(a.finish(negative, {}));
  CpacePoint too_large;
  too_large.fill(std::byte{0xff});
  EXPECT_FALSE(a.finish(too_large, {}));
}

// Two sides with a difference in one input.
bool agree(std::string_view password, std::string_view channel, std::string_view sid, std::string_view data) {
  SeededRng rng(7);
  const Cpace a(Cpace::Side::Initiator, {as_bytes("pass"), as_bytes("channel"), as_bytes("sid")},
                to_bytes(as_bytes("data")), rng);
  const Cpace b(Cpace::Side::Responder, {as_bytes(password), as_bytes(channel), as_bytes(sid)}, {}, rng);
  const auto of_a = a.finish(b.point(), {}), of_b = b.finish(a.point(), as_bytes(data));
  return of_a && of_b && of_a->isk == of_b->isk && of_a->own_tag == of_b->peer_tag;
}

TEST(Cpace, AgreesOnlyWhenEveryInputIsTheSame) {
  crypto_init();
  EXPECT_TRUE(agree("pass", "channel", "sid", "data"));
  EXPECT_FALSE(agree("Pass", "channel", "sid", "data"));
  EXPECT_FALSE(agree("pass", "chanel", "sid", "data"));
  EXPECT_FALSE(agree("pass", "channel", "sidd", "data"));
  EXPECT_FALSE(agree("pass", "channel", "sid", "date"));
}

TEST(Cpace, TakesPasswordsLongerThanAHashBlock) {
  crypto_init();
  const std::string long_one(500, 'x');
  SeededRng rng(8);
  const CpaceInputs inputs{as_bytes(long_one), {}, {}};
  const Cpace a(Cpace::Side::Initiator, inputs, {}, rng), b(Cpace::Side::Responder, inputs, {}, rng);
  EXPECT_EQ(a.finish(b.point(), {})->isk, b.finish(a.point(), {})->isk);
}

TEST(LvCat, PutsLengthsInLeb128) {
  EXPECT_EQ(to_hex(lv_cat({as_bytes("1234"), as_bytes("5"), {}, as_bytes("678")})),
            "043132333401350003363738");
  const Bytes long_one(300);
  const Bytes all = lv_cat({long_one});
  EXPECT_EQ(to_hex(ByteView(all).first(2)), "ac02");
  EXPECT_EQ(all.size(), 302u);
}

}  // namespace
}  // namespace dh
