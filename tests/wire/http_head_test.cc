#include "wire/http_head.hh"

#include <gtest/gtest.h>

namespace dh {
namespace {

constexpr std::string_view kUpgrade =
    "GET /derp?x=1 HTTP/1.1\r\nHost: relay.example:3340\r\nconnection: keep-alive, Upgrade\r\nUpgrade: "
    "DERP\r\n"
    "Derp-Fast-Start:   1 \r\n\r\n";

TEST(HttpHead, EndsAtTheBlankLineAndLeavesTheRest) {
  const std::string stream = std::string(kUpgrade) + "\x02 frames";
  EXPECT_EQ(http_head_size(as_bytes(stream)), kUpgrade.size());
}

TEST(HttpHead, IsFoundWhereverTheBytesAreSplit) {
  for (std::size_t split = 0; split < kUpgrade.size(); ++split) {
    EXPECT_FALSE(http_head_size(as_bytes(kUpgrade.substr(0, split))));
    EXPECT_EQ(http_head_size(as_bytes(kUpgrade), split), kUpgrade.size()) << split;
  }
}

TEST(HttpHead, ReadsARequest) {
  const auto request = parse_http_request(as_bytes(kUpgrade));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_EQ(request->target, "/derp?x=1");
  EXPECT_EQ(request->path(), "/derp");
  EXPECT_EQ(request->headers.find("HOST"), "relay.example:3340");
  EXPECT_EQ(request->headers.find("derp-fast-start"), "1");
  EXPECT_FALSE(request->headers.find("Derp"));
  EXPECT_TRUE(request->headers.has_token("Connection", "upgrade"));
  EXPECT_FALSE(request->headers.has_token("Connection", "up"));
  EXPECT_TRUE(request->keep_alive());
  EXPECT_FALSE(request->has_body());
}

TEST(HttpHead, KnowsWhenTheConnectionEndsAndWhenABodyFollows) {
  const auto parse = [](std::string_view text) { return parse_http_request(as_bytes(text)).value(); };
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").keep_alive());
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive());
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep_alive());
  EXPECT_TRUE(parse("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n").has_body());
  EXPECT_FALSE(parse("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").has_body());
  EXPECT_TRUE(parse("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").has_body());
}

TEST(HttpHead, RefusesWhatIsNotARequest) {
  const auto error = [](std::string_view text) { return parse_http_request(as_bytes(text)).error(); };
  EXPECT_EQ(error("\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("GET /\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("GET  HTTP/1.1\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("GET /a b HTTP/1.1\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("G{T / HTTP/1.1\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("GET / SPDY/3\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("GET / HTTP/2.0\r\n\r\n"), HttpError::BadVersion);
  EXPECT_EQ(error("GET / HTTP/1.1\r\nno colon\r\n\r\n"), HttpError::BadHeader);
  EXPECT_EQ(error("GET / HTTP/1.1\r\nName : value\r\n\r\n"), HttpError::BadHeader);
  EXPECT_EQ(error("GET / HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n"), HttpError::BadHeader);
  EXPECT_EQ(error("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n"), HttpError::BadHeader);
  EXPECT_EQ(error(std::string_view("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 24)), HttpError::BadHeader);
}

TEST(HttpHead, HoldsItsLimits) {
  std::string text = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 3; ++i) text += "A: b\r\n";
  text += "\r\n";
  EXPECT_TRUE(parse_http_request(as_bytes(text), {.head_bytes = text.size(), .headers = 3}));
  EXPECT_EQ(parse_http_request(as_bytes(text), {.head_bytes = text.size(), .headers = 2}).error(),
            HttpError::TooManyHeaders);
  EXPECT_EQ(parse_http_request(as_bytes(text), {.head_bytes = text.size() - 1, .headers = 3}).error(),
            HttpError::TooLong);
}

TEST(HttpHead, ReadsAResponse) {
  const auto response = parse_http_response(
      as_bytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nDerp-Version: 2\r\n\r\n"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 101);
  EXPECT_EQ(response->reason, "Switching Protocols");
  EXPECT_EQ(response->headers.find("derp-version"), "2");
  EXPECT_EQ(parse_http_response(as_bytes("HTTP/1.0 200\r\n\r\n"))->status, 200);
}

TEST(HttpHead, RefusesWhatIsNotAResponse) {
  const auto error = [](std::string_view text) { return parse_http_response(as_bytes(text)).error(); };
  EXPECT_EQ(error("DERP\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("HTTP/1.1\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("HTTP/1.1 20\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("HTTP/1.1 2000 OK\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("HTTP/1.1 999 No\r\n\r\n"), HttpError::BadStartLine);
  EXPECT_EQ(error("HTTP/3 200 OK\r\n\r\n"), HttpError::BadVersion);
}

}  // namespace
}  // namespace dh
