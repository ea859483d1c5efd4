#include "io/relay_routes.hh"

#include "io/relay_world.hh"

namespace dh::io {
namespace {

RouteAnswer route(std::string_view text, bool last = false) {
  return route_relay(parse_http_request(as_bytes(text)).value(), PublicKey(), last);
}
int status(std::string_view text) {
  const RouteAnswer answer = route(text);
  return answer.response.size() > 12 ? std::stoi(answer.response.substr(9, 3)) : 0;
}

TEST(RelayRoutes, AnswerProbesFromAnyOrigin) {
  for (const char* path : {"/derp/probe", "/derp/latency-check"}) {
    const std::string get = std::string("GET ") + path + " HTTP/1.1\r\nHost: r\r\n\r\n";
    const RouteAnswer answer = route(get);
    EXPECT_EQ(answer.response,
              "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n");
    EXPECT_TRUE(answer.keep_open);
    EXPECT_EQ(status(std::string("HEAD ") + path + " HTTP/1.1\r\nHost: r\r\n\r\n"), 200);
    EXPECT_EQ(status(std::string("POST ") + path + " HTTP/1.1\r\nHost: r\r\n\r\n"), 405);
  }
}

TEST(RelayRoutes, WantAnUpgradeForDerp) {
  const RouteAnswer answer = route("GET /derp HTTP/1.1\r\nHost: r\r\n\r\n");
  EXPECT_TRUE(answer.response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
  EXPECT_TRUE(answer.response.ends_with("\r\n\r\nDERP requires connection upgrade\n"));
  EXPECT_EQ(answer.upgrade, Upgrade::None);
  EXPECT_EQ(status("GET /derp HTTP/1.1\r\nHost: r\r\nUpgrade: h2c\r\n\r\n"), 426);
  EXPECT_EQ(status("GET /elsewhere HTTP/1.1\r\nHost: r\r\nUpgrade: DERP\r\n\r\n"), 404);
}

TEST(RelayRoutes, ChooseTheKindOfUpgrade) {
  const auto kind = [](std::string_view headers) {
    return route("GET /derp HTTP/1.1\r\nHost: r\r\n" + std::string(headers) + "\r\n").upgrade;
  };
  EXPECT_EQ(kind("Upgrade: DERP\r\n"), Upgrade::Derp);
  EXPECT_EQ(kind("upgrade: derp\r\n"), Upgrade::Derp);
  EXPECT_EQ(kind("Upgrade: DERP\r\nDerp-Fast-Start: 1\r\n"), Upgrade::FastDerp);
  EXPECT_EQ(kind("Upgrade: websocket\r\n"), Upgrade::Derp);
  const std::string websocket =
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  EXPECT_EQ(kind(websocket), Upgrade::Derp);
  EXPECT_EQ(kind(websocket + "Sec-WebSocket-Protocol: chat, derp\r\n"), Upgrade::WebSocket);
  EXPECT_EQ(kind("Upgrade: websocket\r\nSec-WebSocket-Protocol: derp\r\n"),
            Upgrade::None);  // no version, no key
}

TEST(RelayRoutes, EchoOnlyHarmlessChallenges) {
  const auto echo = [](const std::string& challenge) {
    const RouteAnswer answer = route(
        "GET /generate_204?t=1 HTTP/1.1\r\nHost: r\r\nX-Tailscale-Challenge: " + challenge + "\r\n\r\n");
    EXPECT_TRUE(answer.response.starts_with("HTTP/1.1 204 No Content\r\nCache-Control: no-cache, no-store"));
    const auto at = answer.response.find("X-Tailscale-Response: response ");
    if (at == std::string::npos) return std::string();
    return answer.response.substr(at + 31, answer.response.find("\r\n", at) - at - 31);
  };
  EXPECT_EQ(echo("input"), "input");
  EXPECT_EQ(echo("ts_derp99b.tailscale.com"), "ts_derp99b.tailscale.com");
  EXPECT_EQ(echo("ts_[::1]"), "");
  EXPECT_EQ(echo(""), "");
  EXPECT_EQ(echo("foo bar"), "");
  EXPECT_EQ(echo(std::string(64, 'x')), std::string(64, 'x'));
  EXPECT_EQ(echo(std::string(65, 'x')), "");
}

TEST(RelayRoutes, EndTheConnectionBehindABodyAHeaderOrTheLastRequest) {
  EXPECT_FALSE(route("GET / HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\n").keep_open);
  EXPECT_FALSE(route("GET / HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").keep_open);
  EXPECT_FALSE(route("GET / HTTP/1.1\r\nHost: r\r\n\r\n", true).keep_open);
  EXPECT_FALSE(route("GET / HTTP/1.0\r\n\r\n").keep_open);
  EXPECT_TRUE(route("GET / HTTP/1.1\r\nHost: r\r\n\r\n").keep_open);
  EXPECT_EQ(status("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
}

TEST(RelayRoutes, LeaveTheBodyOutForHead) {
  const RouteAnswer get = route("GET /robots.txt HTTP/1.1\r\nHost: r\r\n\r\n");
  const RouteAnswer head = route("HEAD /robots.txt HTTP/1.1\r\nHost: r\r\n\r\n");
  EXPECT_EQ(get.response, head.response + "User-agent: *\nDisallow: /\n");
}

TEST(RelayHttp, ServesSeveralRequestsOnOneConnectionAlsoPipelined) {
  RelayWorld world;
  RawClient raw(world.endpoint());
  raw.send("GET /derp/probe HTTP/1.1\r\nHost: r\r\n\r\nGET /none HTTP/1.1\r\nHost: r\r\n\r\n");
  EXPECT_TRUE(raw.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(raw.read_until("Not found\n").starts_with("HTTP/1.1 404 "));
  raw.send(kUpgradeRequest);
  EXPECT_TRUE(raw.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
}

TEST(RelayHttp, EndsAfterItsNumberOfRequests) {
  DerpServerOptions options = loopback_options();
  options.limits.requests_per_connection = 2;
  RelayWorld world(std::move(options));
  RawClient raw(world.endpoint());
  for (int i = 0; i < 5; ++i) raw.send("GET /derp/probe HTTP/1.1\r\nHost: r\r\n\r\n");
  const std::string all = raw.read_to_end();
  EXPECT_EQ(all.find("Connection: close"), all.rfind("Connection: close"));
  EXPECT_NE(all.find("Connection: close"), std::string::npos);
}

TEST(RelayHttp, RefusesHeadsThatAreMalformedOrTooLong) {
  DerpServerOptions options = loopback_options();
  options.limits.header_bytes = 1024;
  RelayWorld world(std::move(options));
  RawClient bad(world.endpoint());
  bad.send("NOT HTTP\r\n\r\n");
  EXPECT_TRUE(bad.read_to_end().starts_with("HTTP/1.1 400 "));
  RawClient long_head(world.endpoint());
  long_head.send("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x'));
  EXPECT_TRUE(long_head.read_to_end().starts_with("HTTP/1.1 431 "));
  EXPECT_EQ(world.shell().bad_requests, 2u);
}

TEST(RelayHttp, ClosesConnectionsWithoutARequestInTime) {
  DerpServerOptions options = loopback_options();
  options.limits.header_deadline = 30ms;
  RelayWorld world(std::move(options));
  RawClient silent(world.endpoint()), slow(world.endpoint());
  slow.send("GET / HT");
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_EQ(slow.read_to_end(), "");
  EXPECT_EQ(world.shell().header_timeouts, 2u);
}

TEST(RelayHttp, HoldsTheCapPerAddressAndInTotal) {
  DerpServerOptions options = loopback_options();
  options.limits.connections_per_address = 2;
  options.limits.connections = 3;
  RelayWorld world(std::move(options));
  PlainTransport first(world.endpoint());
  {
    PlainTransport second(world.endpoint());
    RawClient third(world.endpoint());
    EXPECT_EQ(third.read_to_end(), "");
    EXPECT_EQ(world.shell().refused_address_cap, 1u);
  }
  ASSERT_TRUE(world.eventually([&] { return world.server().shell_counters().current_tcp == 1; }));
  PlainTransport again(world.endpoint());
  EXPECT_FALSE(again.head.empty());
}

TEST(RelayHttp, HoldsTheTotalCap) {
  DerpServerOptions options = loopback_options();
  options.limits.connections = 1;
  RelayWorld world(std::move(options));
  PlainTransport first(world.endpoint());
  RawClient second(world.endpoint());
  EXPECT_EQ(second.read_to_end(), "");
  EXPECT_EQ(world.shell().refused_total_cap, 1u);
}

TEST(RelayHttp, ShowsMetricsOnTheirOwnEndpointOnly) {
  DerpServerOptions options = loopback_options();
  options.metrics = Endpoint{IpAddress::v4(127, 0, 0, 1), 0};
  RelayWorld world(std::move(options));
  RawClient relay(world.endpoint());
  relay.send("GET /metrics HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(relay.read_to_end().starts_with("HTTP/1.1 404 "));
  RawClient metrics(*world.server().metrics_endpoint());
  metrics.send("GET /metrics HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
  const std::string page = metrics.read_to_end();
  EXPECT_NE(page.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(page.find("\n# TYPE derp_packets_received_total counter\nderp_packets_received_total 0\n"),
            std::string::npos);
  EXPECT_NE(page.find("\nderp_packets_dropped_total{reason=\"queue_head\"} 0\n"), std::string::npos);
  EXPECT_NE(page.find("\nrelay_tcp_accepted_total 2\n"), std::string::npos);
  RawClient derp(*world.server().metrics_endpoint());
  derp.send(kUpgradeRequest);
  EXPECT_TRUE(derp.read_until("\r\n\r\n").starts_with("HTTP/1.1 404 "));
}

}  // namespace
}  // namespace dh::io
