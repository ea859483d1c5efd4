#include "io/proxy.hh"

#include <gtest/gtest.h>

#include "io/http_exchange.hh"
#include "io/http_upgrade.hh"
#include "io/reconnect_backoff.hh"

namespace dh::io {
namespace {

TEST(ProxyUrl, ReadsSchemeLoginHostAndPort) {
  struct Row {
    const char* text;
    ProxyUrl url;
  };
  const Row rows[] = {
      {"http://p.example:3128", {false, "p.example", 3128, std::nullopt}},
      {"p.example:3128/", {false, "p.example", 3128, std::nullopt}},
      {"p.example", {false, "p.example", 80, std::nullopt}},
      {"HTTPS://p.example", {true, "p.example", 443, std::nullopt}},
      {"http://u:p%40ss@p.example:1", {false, "p.example", 1, "u:p@ss"}},
      {"http://u@p.example:1", {false, "p.example", 1, "u:"}},
      {"http://[2001:db8::1]:3128", {false, "2001:db8::1", 3128, std::nullopt}},
  };
  for (const Row& row : rows) {
    const auto url = parse_proxy_url(row.text);
    ASSERT_TRUE(url) << row.text << ": " << url.error();
    EXPECT_EQ(*url, row.url) << row.text;
  }
}

TEST(ProxyUrl, RefusesWithoutShowingThePassword) {
  for (const char* text : {"socks5://u:secret@p.example:1080", "http://u:secret@", "http://u:secret@p:99999",
                           "http://u:secret%zz@p.example", "http://u:secret%0d%0a@p.example",
                           "http://u:secret@a b", "http://u:secret@[::1"}) {
    const auto url = parse_proxy_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().find("secret"), std::string::npos) << url.error();
  }
}

TEST(NoProxy, DecidesAsGoAndCurlDo) {
  struct Row {
    const char* list;
    const char* host;
    std::uint16_t port;
    bool direct;
  };
  const Row rows[] = {
      {"", "relay.example", 443, false},
      {"", "localhost", 443, true},
      {"", "LOCALHOST.", 443, true},
      {"", "127.0.0.9", 443, true},
      {"", "::1", 443, true},
      {"*", "relay.example", 443, true},
      {"relay.example", "relay.example", 443, true},
      {"RELAY.example", "relay.EXAMPLE.", 443, true},
      {"relay.example.", "relay.example", 443, true},
      {"example", "relay.example", 443, true},
      {"lay.example", "relay.example", 443, false},
      {".example", "relay.example", 443, true},
      {".relay.example", "relay.example", 443, false},
      {"*.example", "relay.example", 443, true},
      {"*.relay.example", "relay.example", 443, false},
      {"a.test, relay.example ,b.test", "relay.example", 443, true},
      {"a.test relay.example", "relay.example", 443, true},
      {"relay.example:443", "relay.example", 443, true},
      {"relay.example:8443", "relay.example", 443, false},
      {"192.0.2.1", "192.0.2.1", 443, true},
      {"192.0.2.1:80", "192.0.2.1", 443, false},
      {"192.0.2.0/24", "192.0.2.77", 443, true},
      {"192.0.2.0/25", "192.0.2.177", 443, false},
      {"0.0.0.0/0", "192.0.2.1", 443, true},
      {"0.0.0.0/0", "2001:db8::1", 443, false},
      {"192.0.2.0/33", "192.0.2.1", 443, false},
      {"192.0.2.0/", "192.0.2.1", 443, false},
      {"2001:db8::/32", "2001:db8:1::1", 443, true},
      {"2001:db8::1", "2001:db8::1", 443, true},
      {"[2001:db8::1]:443", "2001:db8::1", 443, true},
      {"2.1", "192.0.2.1", 443, false},
      {",,  ,", "relay.example", 443, false},
  };
  for (const Row& row : rows)
    EXPECT_EQ(bypasses_proxy(row.host, row.port, row.list), row.direct) << row.list << " for " << row.host;
}

TEST(BodyExcerpt, KeepsTheWordsOfAPage) {
  EXPECT_EQ(
      body_excerpt("<html><style>p{}</style><h1>Access\n denied</h1><SCRIPT>x<y</script><p>by policy</p>"),
      "Access denied by policy");
  EXPECT_EQ(body_excerpt("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(body_excerpt("<script>never closed"), "");
  EXPECT_EQ(body_excerpt(std::string(5000, 'a')), std::string(160, 'a') + "...");
}

TEST(HostHeader, NamesThePortOnlyWhereItIsUnusual) {
  EXPECT_EQ(host_header("relay.example", 443, true), "relay.example");
  EXPECT_EQ(host_header("relay.example", 443, false), "relay.example:443");
  EXPECT_EQ(host_header("relay.example", 80, false), "relay.example");
  EXPECT_EQ(host_header("2001:db8::1", 8443, true), "[2001:db8::1]:8443");
}

TEST(ReconnectBackoff, GrowsWithTheSquareAndStaysWithinItsJitter) {
  ReconnectBackoff backoff;
  SeededRng rng(1);
  for (int n = 1; n <= 40; ++n) {
    const Duration base = std::min<Duration>(10ms * n * n, 5s);
    const Duration wait = backoff.next(AttemptEnd::Unreachable, {}, rng);
    EXPECT_GE(wait, base / 2) << n;
    EXPECT_LT(wait, base * 3 / 2) << n;
  }
}

TEST(ReconnectBackoff, OnlyALoginThatStoodClearsTheCount) {
  ReconnectBackoff backoff;
  SeededRng rng(2);
  for (int n = 0; n < 30; ++n) backoff.next(AttemptEnd::Lost, 1s, rng);
  EXPECT_GE(backoff.next(AttemptEnd::Lost, 4s, rng), 2500ms);
  EXPECT_LT(backoff.next(AttemptEnd::Lost, 5s, rng), 15ms);
}

TEST(ReconnectBackoff, AsksARelayThatRefusesUsLessAndLess) {
  ReconnectBackoff backoff;
  SeededRng rng(3);
  EXPECT_LT(backoff.next(AttemptEnd::Rejected, {}, rng), 100ms);
  EXPECT_LT(backoff.next(AttemptEnd::Rejected, {}, rng), 100ms);
  EXPECT_GE(backoff.next(AttemptEnd::Rejected, {}, rng), 1s);
  for (int n = 0; n < 10; ++n) backoff.next(AttemptEnd::Rejected, {}, rng);
  const Duration wait = backoff.next(AttemptEnd::Rejected, {}, rng);
  EXPECT_GE(wait, 30s);
  EXPECT_LT(wait, 90s);
  EXPECT_LT(backoff.next(AttemptEnd::Unreachable, {}, rng), 10s);
}

}  // namespace
}  // namespace dh::io
