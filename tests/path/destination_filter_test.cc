#include "path/destination_filter.hh"

#include <gtest/gtest.h>

namespace dh::path {
namespace {

Endpoint at(const char* text) {
  return *Endpoint::parse(text);
}

class DestinationFilterTest : public testing::Test {
protected:
  DestinationFilterTest() {
    filter.set_local({{*IpAddress::parse("192.168.11.2"), 24}, {*IpAddress::parse("2001:db8:11::2"), 64}});
    filter.set_reflexive({*IpAddress::parse("5.5.5.21")});
  }
  DestinationFilter filter;
};

TEST_F(DestinationFilterTest, PublicAddressesMayBeProbed) {
  EXPECT_TRUE(filter.allows(at("5.5.5.22:40000"), false));
  EXPECT_TRUE(filter.allows(at("[2001:db8:12::2]:40000"), false));
}

TEST_F(DestinationFilterTest, NothingThatIsNoHostOfAPeerIsEverProbed) {
  for (const char* text : {"127.0.0.1:40000", "127.1.2.3:40000", "0.0.0.0:40000", "0.1.2.3:40000",
                           "224.0.0.1:40000", "239.255.255.250:40000", "255.255.255.255:40000",
                           "240.0.0.1:40000", "169.254.169.254:40000", "192.168.11.255:40000", "[::1]:40000",
                           "[::]:40000", "[fe80::1]:40000", "[ff02::1]:40000", "[64:ff9b::7f00:1]:40000",
                           "[2002:7f00:1::1]:40000", "[2001:0:7f00:1::1]:40000", "[::5.5.5.5]:40000"}) {
    EXPECT_FALSE(filter.allows(at(text), true)) << text;
    EXPECT_FALSE(filter.allows_reply(at(text))) << text;
  }
}

TEST_F(DestinationFilterTest, ServicePortsAreOnlyAnsweredNeverProbed) {
  for (const char* text : {"5.5.5.22:53", "5.5.5.22:123", "5.5.5.22:1023"}) {
    EXPECT_FALSE(filter.allows(at(text), false)) << text;
    EXPECT_TRUE(filter.allows_reply(at(text))) << text;
  }
}

TEST_F(DestinationFilterTest, PrivateAddressesNeedASharedLinkOrASharedRouter) {
  EXPECT_TRUE(filter.allows(at("192.168.11.7:40000"), false));
  EXPECT_FALSE(filter.allows(at("192.168.12.7:40000"), false));
  EXPECT_FALSE(filter.allows(at("100.64.0.3:40000"), false));
  EXPECT_TRUE(filter.allows(at("100.64.0.3:40000"), true));
  EXPECT_TRUE(filter.on_our_link(*IpAddress::parse("2001:db8:11::99")));
  EXPECT_FALSE(filter.on_our_link(*IpAddress::parse("2001:db8:12::99")));
}

TEST_F(DestinationFilterTest, LoopbackIsForPeersOnThisMachineOnly) {
  EXPECT_FALSE(filter.allows(at("127.0.0.1:40000"), false));
  filter.allow_loopback();
  EXPECT_TRUE(filter.allows(at("127.0.0.1:40000"), false));
}

TEST(SamePrefix, ComparesWholeAndPartialBytes) {
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  EXPECT_TRUE(same_prefix(ip("10.1.2.3"), ip("10.1.2.130"), 24));
  EXPECT_FALSE(same_prefix(ip("10.1.2.3"), ip("10.1.2.130"), 25));
  EXPECT_TRUE(same_prefix(ip("10.1.2.3"), ip("11.1.2.3"), 7));
  EXPECT_FALSE(same_prefix(ip("10.1.2.3"), ip("::1"), 0));
}

}  // namespace
}  // namespace dh::path
