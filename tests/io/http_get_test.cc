#include "io/http_get.hh"

#include <gmock/gmock.h>

#include "io/loopback_servers.hh"

namespace dh::io {
namespace {

using test::http_answer;
using test::HttpServer;
using testing::HasSubstr;
using Result = std::expected<HttpResponse, std::string>;

Result get(asio::io_context& context, HttpGetRequest request, Duration timeout = 5s) {
  DialOptions options;
  options.timeout = timeout;
  return test::run(context, http_get(std::move(request), std::move(options)));
}

Result get(asio::io_context& context, const std::string& url, Duration timeout = 5s) {
  HttpGetRequest request;
  request.url = url;
  return get(context, std::move(request), timeout);
}

TEST(HttpGet, FetchesABodyAndSaysWhoWeAre) {
  asio::io_context context;
  HttpServer server(context, [](const auto&) { return http_answer("200 OK", "hello", "ETag: \"v1\"\r\n"); });
  const auto response = get(context, server.url("/a?b"));
  ASSERT_TRUE(response.has_value()) << response.error();
  EXPECT_EQ(response->status, 200u);
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(response->etag, "\"v1\"");
  EXPECT_EQ(response->url, server.url("/a?b"));
  EXPECT_THAT(server.requests().at(0), HasSubstr("GET /a?b HTTP/1.1\r\n"));
  EXPECT_THAT(server.requests().at(0), HasSubstr("\r\nHost: 127.0.0.1:" + std::to_string(server.port())));
  EXPECT_THAT(server.requests().at(0), HasSubstr("\r\nUser-Agent: derphole/"));
}

TEST(HttpGet, ReadsChunkedAndUndelimitedBodies) {
  asio::io_context context;
  HttpServer server(context, [](const std::string& head) -> std::string {
    if (head.starts_with("GET /chunked"))
      return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    return "HTTP/1.0 200 OK\r\n\r\nuntil the end";
  });
  EXPECT_EQ(get(context, server.url("/chunked"))->body, "abcde");
  EXPECT_EQ(get(context, server.url("/"))->body, "until the end");
}

TEST(HttpGet, RevalidatesWithTheEtagAsItCame) {
  asio::io_context context;
  HttpServer server(context, [](const auto&) { return std::string("HTTP/1.1 304 Not Modified\r\n\r\n"); });
  HttpGetRequest request;
  request.url = server.url("/");
  request.if_none_match = "W/\"v1\"";
  EXPECT_EQ(get(context, request)->status, 304u);
  EXPECT_THAT(server.requests().at(0), HasSubstr("\r\nIf-None-Match: W/\"v1\"\r\n"));
  request.if_none_match = "x\r\nEvil: 1";
  EXPECT_EQ(get(context, request)->status, 304u);
  EXPECT_EQ(server.requests().at(1).find("Evil"), std::string::npos);
}

TEST(HttpGet, FollowsFiveRedirectsAndNoMore) {
  asio::io_context context;
  HttpServer server(context, [](const std::string& head) {
    const int hop = head.at(5) - '0';
    if (hop == 0) return http_answer("200 OK", "there");
    return http_answer("302 Found", "", "Location: /" + std::to_string(hop - 1) + "\r\n");
  });
  const auto response = get(context, server.url("/5"));
  ASSERT_TRUE(response.has_value()) << response.error();
  EXPECT_EQ(response->body, "there");
  EXPECT_EQ(response->url, server.url("/0"));
  EXPECT_THAT(get(context, server.url("/6")).error(), HasSubstr("redirected too often"));
}

TEST(HttpGet, RefusesToBeSentToUnprotectedPlaces) {
  asio::io_context context;
  HttpServer server(context, [](const auto&) {
    return http_answer("301 Moved", "", "Location: http://192.0.2.1/map\r\n");
  });
  EXPECT_THAT(get(context, server.url("/")).error(), HasSubstr("unprotected http"));
}

TEST(HttpGet, BoundsTheBody) {
  asio::io_context context;
  HttpServer server(context, [](const std::string& head) -> std::string {
    if (head.starts_with("GET /declared")) return "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    return "HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x');
  });
  HttpGetRequest request;
  request.max_body = 4096;
  for (const char* path : {"/declared", "/streamed"}) {
    request.url = server.url(path);
    const auto response = get(context, request);
    ASSERT_FALSE(response.has_value()) << path;
    EXPECT_THAT(response.error(), HasSubstr("larger than 4096 bytes")) << path;
  }
}

TEST(HttpGet, SaysWhatWentWrong) {
  asio::io_context context;
  HttpServer server(context, [](const std::string& head) -> std::string {
    if (head.starts_with("GET /short")) return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    if (head.starts_with("GET /silent")) return "";
    return "SSH-2.0-OpenSSH_9\r\n";
  });
  EXPECT_THAT(get(context, server.url("/short")).error(), HasSubstr("before the answer was complete"));
  EXPECT_THAT(get(context, server.url("/ssh")).error(), HasSubstr("not HTTP"));
  EXPECT_THAT(get(context, server.url("/silent"), 50ms).error(), HasSubstr("no complete answer in time"));
  EXPECT_THAT(get(context, "gopher://a").error(), HasSubstr("does not start with"));
}

}  // namespace
}  // namespace dh::io
