#include "session/server_url.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dh::session {
namespace {

using testing::HasSubstr;

const std::string kHex(64, 'a');

RelayRef parsed(const std::string& text) {
  auto relay = parse_server_url(text);
  EXPECT_TRUE(relay.has_value()) << (relay ? "" : relay.error());
  return relay.value_or(RelayRef{});
}

std::string error_of(const std::string& text) {
  auto relay = parse_server_url(text);
  return relay ? "no error" : relay.error();
}

TEST(ServerUrl, ReadsHostPortPinAndStun) {
  const RelayRef relay = parsed("https://Relay.Example:8443/derp?pin=sha256-raw:" + kHex + "&stun=3479");
  EXPECT_EQ(relay.host, "relay.example");
  EXPECT_EQ(relay.port, 8443);
  EXPECT_EQ(to_hex(*relay.pin), kHex);
  EXPECT_EQ(relay.stun_port, 3479);
  EXPECT_FALSE(relay.plain_http);
  EXPECT_EQ(relay.region, 0u);
}

TEST(ServerUrl, DefaultsPortsByScheme) {
  EXPECT_EQ(parsed("https://relay.example").port, 443);
  EXPECT_EQ(parsed("https://relay.example/").stun_port, 3478);
  EXPECT_FALSE(parsed("https://relay.example?stun=0").stun_port);
  EXPECT_EQ(parsed("http://127.0.0.1").port, 80);
  EXPECT_FALSE(parsed("http://127.0.0.1").stun_port);
}

TEST(ServerUrl, TakesIpv6InBrackets) {
  EXPECT_EQ(parsed("https://[2001:DB8::1]:8443").host, "2001:db8::1");
  EXPECT_TRUE(parsed("http://[::1]:3340").plain_http);
  EXPECT_TRUE(parsed("http://localhost:3340").plain_http);
}

TEST(ServerUrl, FormatsToTheShortestTextThatReadsTheSame) {
  for (const std::string& text :
       {std::string("https://relay.example"), std::string("https://[2001:db8::1]:8443"),
        std::string("http://127.0.0.1:3340?stun=3478"),
        "https://10.0.0.1?pin=sha256-raw:" + kHex + "&stun=0"}) {
    EXPECT_EQ(format_server_url(parsed(text)), text);
    EXPECT_EQ(parsed(format_server_url(parsed(text))), parsed(text));
  }
  EXPECT_EQ(format_server_url(parsed("HTTPS://R.example:443/derp?stun=3478")), "https://r.example");
}

TEST(ServerUrl, SaysWhatIsWrong) {
  EXPECT_EQ(error_of("relay.example"),
            "the relay \"relay.example\" does not start with https:// or http://; write it as "
            "https://HOST[:PORT][?pin=sha256-raw:HEX]");
  EXPECT_THAT(error_of(""), HasSubstr("does not start with"));
  EXPECT_THAT(error_of("ftp://a"), HasSubstr("does not start with"));
  EXPECT_THAT(error_of("https://"), HasSubstr("has no host"));
  EXPECT_THAT(error_of("https://a:0"), HasSubstr("port"));
  EXPECT_THAT(error_of("https://a:"), HasSubstr("port"));
  EXPECT_THAT(error_of("https://a:70000"), HasSubstr("port"));
  EXPECT_THAT(error_of("https://2001:db8::1"), HasSubstr("without []"));
  EXPECT_THAT(error_of("https://[::1"), HasSubstr("[ without ]"));
  EXPECT_THAT(error_of("https://[1.2.3.4]"), HasSubstr("no IPv6 address"));
  EXPECT_THAT(error_of("https://[::1]x"), HasSubstr("after its ]"));
  EXPECT_THAT(error_of("https://u:p@a"), HasSubstr("user name"));
  EXPECT_THAT(error_of("https://a b"), HasSubstr("space"));
  EXPECT_THAT(error_of("https://a/x"), HasSubstr("has a path"));
  EXPECT_THAT(error_of("https://a?x=1"), HasSubstr("unknown parameter \"x\""));
  EXPECT_THAT(error_of("https://a?pin=" + kHex), HasSubstr("sha256-raw:"));
  EXPECT_THAT(error_of("https://a?pin=sha256-raw:12"), HasSubstr("64 hexadecimal"));
  EXPECT_THAT(error_of("https://a?stun=x"), HasSubstr("STUN port"));
  EXPECT_THAT(error_of("http://relay.example"), HasSubstr("this machine only"));
  EXPECT_THAT(error_of("http://10.0.0.1"), HasSubstr("this machine only"));
  EXPECT_THAT(error_of("http://127.0.0.1?pin=sha256-raw:" + kHex), HasSubstr("no certificate"));
  EXPECT_THAT(error_of("https://a\x1b[31m"), HasSubstr("\\x1b"));
}

}  // namespace
}  // namespace dh::session
