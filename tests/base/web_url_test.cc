#include "base/web_url.hh"

#include <gtest/gtest.h>

namespace dh {
namespace {

TEST(WebUrl, SplitsAndJoins) {
  const auto url = WebUrl::parse("HTTPS://Host.Example:8443/a/b?c=d#e");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->host, "host.example");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(url->to_string(), "https://host.example:8443/a/b?c=d");
  EXPECT_EQ(WebUrl::parse("http://a?q")->target, "/?q");
  EXPECT_EQ(WebUrl::parse("http://[::1]")->authority(), "[::1]");
  EXPECT_EQ(WebUrl::parse("http://[::1]:80")->authority(), "[::1]");
}

TEST(WebUrl, RefusesWhatWouldBreakARequest) {
  for (const char* bad :
       {"https://a/\r\nX: y", "https://a\\b", "https://a b/", "https://\xc3\xa9", "//a", "https:///x"})
    EXPECT_FALSE(WebUrl::parse(bad)) << bad;
  EXPECT_FALSE(WebUrl::parse("https://a/" + std::string(2048, 'x')));
}

TEST(WebUrl, ResolvesLocations) {
  const auto base = *WebUrl::parse("https://a:8443/x/y?z");
  EXPECT_EQ(base.resolve("https://b/c")->to_string(), "https://b/c");
  EXPECT_EQ(base.resolve("//b/c")->to_string(), "https://b/c");
  EXPECT_EQ(base.resolve("/c")->to_string(), "https://a:8443/c");
  EXPECT_EQ(base.resolve("c?d:e#f")->to_string(), "https://a:8443/x/c?d:e");
  EXPECT_EQ(base.resolve("?q")->to_string(), "https://a:8443/x/y?q");
  EXPECT_EQ(*base.resolve(""), base);
  EXPECT_FALSE(base.resolve("ftp://b"));
  EXPECT_FALSE(base.resolve("javascript:x"));
  EXPECT_FALSE(base.resolve("a b"));
}

TEST(WebUrl, KnowsLoopback) {
  EXPECT_TRUE(WebUrl::parse("http://127.8.8.8")->is_loopback());
  EXPECT_TRUE(WebUrl::parse("http://localhost")->is_loopback());
  EXPECT_FALSE(WebUrl::parse("http://localhost.example")->is_loopback());
  EXPECT_FALSE(WebUrl::parse("http://127.1.example")->is_loopback());
}

TEST(WebUrl, HostNames) {
  for (const char* good : {"a", "a-b_c.d1", "1.2.3.4", "::1", "2001:db8::1"})
    EXPECT_TRUE(is_host_name(good)) << good;
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a b", "[::1]", "a/b", "a:1", "\xc3\xa9"})
    EXPECT_FALSE(is_host_name(bad)) << bad;
  EXPECT_TRUE(is_host_name(std::string(63, 'a')));
  EXPECT_FALSE(is_host_name(std::string(64, 'a')));
}

}  // namespace
}  // namespace dh
