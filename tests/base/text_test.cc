#include <gtest/gtest.h>

#include "base/address.hh"
#include "base/printable.hh"
#include "base/rng.hh"

namespace dh {
namespace {

TEST(IpAddress, ParsesBothFamiliesAndUnmaps) {
  EXPECT_EQ(IpAddress::parse("192.0.2.1")->to_string(), "192.0.2.1");
  EXPECT_EQ(IpAddress::parse("2001:db8::1")->to_string(), "2001:db8::1");
  EXPECT_EQ(*IpAddress::parse("::ffff:192.0.2.1"), *IpAddress::parse("192.0.2.1"));
  EXPECT_TRUE(IpAddress::parse("::ffff:192.0.2.1")->is_v4());
  EXPECT_FALSE(IpAddress::parse("192.0.2.1.5"));
  EXPECT_FALSE(IpAddress::parse("none"));
}

TEST(IpAddress, KnowsItsScopes) {
  EXPECT_TRUE(IpAddress::parse("127.1.2.3")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("172.31.0.1")->is_private());
  EXPECT_FALSE(IpAddress::parse("172.32.0.1")->is_private());
  EXPECT_TRUE(IpAddress::parse("fd00::1")->is_private());
  EXPECT_TRUE(IpAddress::parse("fe80::1")->is_link_local());
  EXPECT_TRUE(IpAddress{}.is_unspecified());
  EXPECT_TRUE(IpAddress{}.is_v4());
}

TEST(IpAddress, OnlyLinkLocalIpv6HasAZone) {
  const IpAddress address = IpAddress::parse("fe80::1")->with_zone(3);
  EXPECT_EQ(address.to_string(), "fe80::1%3");
  EXPECT_EQ((Endpoint{address, 80}.to_string()), "[fe80::1%3]:80");
  EXPECT_NE(address, *IpAddress::parse("fe80::1"));
  EXPECT_EQ(address.with_zone(0), *IpAddress::parse("fe80::1"));
  EXPECT_EQ(IpAddress::parse("2001:db8::1")->with_zone(3), *IpAddress::parse("2001:db8::1"));
  EXPECT_EQ(IpAddress::parse("169.254.0.1")->with_zone(3), *IpAddress::parse("169.254.0.1"));
}

TEST(Endpoint, ParsesWithBracketsOnlyForIpv6) {
  EXPECT_EQ(Endpoint::parse("[::1]:80")->to_string(), "[::1]:80");
  EXPECT_EQ(Endpoint::parse("1.2.3.4:80")->to_string(), "1.2.3.4:80");
  EXPECT_FALSE(Endpoint::parse("::1:80"));
  EXPECT_FALSE(Endpoint::parse("1.2.3.4:65536"));
  EXPECT_FALSE(Endpoint::parse("1.2.3.4"));
}

TEST(Printable, KeepsTextAndDisarmsTheRest) {
  EXPECT_EQ(printable("résumé.txt"), "résumé.txt");
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a\\x1b[31mb\\x0a");
  EXPECT_EQ(printable("\xff\xc0\x80"), "\\xff\\xc0\\x80");
  EXPECT_EQ(printable("gpj.\xe2\x80\xae"
                      "exe"),
            "gpj.\\xe2\\x80\\xae"
            "exe");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(SeededRng, IsRepeatableAndBelowIsInRange) {
  SeededRng a(7), b(7), c(8);
  EXPECT_EQ(a.u64(), b.u64());
  EXPECT_NE(a.u64(), c.u64());
  for (int i = 0; i < 1000; ++i) EXPECT_LT(a.below(7), 7u);
}

}  // namespace
}  // namespace dh
