#include "derp/meta_cert.hh"

#include <memory>

#include <gtest/gtest.h>
#include <openssl/x509.h>

namespace dh::derp {
namespace {

constexpr std::string_view kGolden =
    "3082016330820115a003020102020102300506032b657030523150304e06035504031347646572706b6579333538303732643633"
    "363538"
    "38306431616565613332396164663931323133383338353165643231613238653362373565393635643064326364313636323534"
    "301e17"
    "0d3236303130313030303030305a170d3236303330323030303030305a30523150304e06035504031347646572706b6579333538"
    "303732"
    "64363336353838306431616565613332396164663931323133383338353165643231613238653362373565393635643064326364"
    "313636"
    "323534302a300506032b657003210003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a310300e30"
    "0c0603"
    "551d130101ff04023000300506032b657003410044d273e5631bbab77922f00bf25e1d798f5ac0a3f073e5ca536b4fcfa165f584"
    "6808bb"
    "72c00437132ee51ed6d124ac907a7f660044c41dfbef4d3a632810ce0f";

constexpr std::string_view kServerHex = "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254";

Bytes golden_cert() {
  using namespace std::chrono;
  crypto_init();
  const Secret<32> seed(
      array_from_hex<32>("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").value());
  const MetaCertDates dates{sys_days(year(2026) / 1 / 1), sys_days(year(2026) / 3 / 2)};
  return make_meta_cert(PublicKey::parse(kServerHex).value(), seed, dates);
}

TEST(MetaCert, HasTheGoldenBytes) {
  EXPECT_EQ(to_hex(golden_cert()), kGolden);
}

TEST(MetaCert, IsACertificateToOpensslAndVerifiesWithItsOwnKey) {
  const Bytes der = golden_cert();
  const unsigned char* at = as_uchar(ByteView(der));
  const std::unique_ptr<X509, decltype(&X509_free)> cert(
      d2i_X509(nullptr, &at, static_cast<long>(der.size())), X509_free);
  ASSERT_TRUE(cert);
  EXPECT_EQ(X509_verify(cert.get(), X509_get0_pubkey(cert.get())), 1);
  char name[128] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(cert.get()), NID_commonName, name, sizeof name);
  const auto serial = static_cast<std::uint64_t>(ASN1_INTEGER_get(X509_get0_serialNumber(cert.get())));
  EXPECT_EQ(parse_meta_cert_name(name, serial)->to_hex(), kServerHex);
}

TEST(MetaCert, WritesTheTimeOfDayAndClampsImpossibleDates) {
  using namespace std::chrono;
  const MetaCertDates dates{sys_days(year(1900) / 1 / 1), sys_days(year(2031) / 12 / 30) + 23h + 59min + 8s};
  const Bytes der = make_meta_cert(PublicKey::parse(kServerHex).value(), Secret<32>(), dates);
  EXPECT_EQ(as_text(ByteView(der).subspan(111, 13)), "500101000000Z");
  EXPECT_EQ(as_text(ByteView(der).subspan(126, 13)), "311230235908Z");
}

TEST(MetaCert, NameGivesTheKeyOnlyInItsExactForm) {
  const std::string name = "derpkey" + std::string(kServerHex);
  EXPECT_TRUE(parse_meta_cert_name(name, 2));
  EXPECT_TRUE(parse_meta_cert_name(name, 1));
  EXPECT_FALSE(parse_meta_cert_name(name, 0));
  EXPECT_FALSE(parse_meta_cert_name(name, 256));
  EXPECT_FALSE(parse_meta_cert_name(name + "0", 2));
  EXPECT_FALSE(parse_meta_cert_name(kServerHex, 2));
  EXPECT_FALSE(parse_meta_cert_name("derpkeynodekey:" + std::string(kServerHex), 2));
  EXPECT_FALSE(parse_meta_cert_name("derpkey" + std::string(64, '0'), 2));
  EXPECT_FALSE(parse_meta_cert_name("relay.example", 2));
}

}  // namespace
}  // namespace dh::derp
