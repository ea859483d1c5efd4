#include "io/relay_choice.hh"

#include <gmock/gmock.h>

#include "io/clock.hh"
#include "io/loopback_servers.hh"

namespace dh::io {
namespace {

using test::HttpServer;
using test::StunServer;
using testing::HasSubstr;

// A TCP port that takes connections and then says nothing: to TLS, a black hole.
struct SilentPort {
  explicit SilentPort(asio::io_context& context) : acceptor(context, {asio::ip::address_v4::loopback(), 0}) {}
  std::uint16_t port() const { return acceptor.local_endpoint().port(); }
  test::tcp::acceptor acceptor;
};

std::uint16_t closed_port(asio::io_context& context) {
  return SilentPort(context).port();
}

std::string region(int id, std::uint16_t derp, int stun) {
  return "\"" + std::to_string(id) +
         R"(":{"Nodes":[{"HostName":"127.0.0.1","IPv4":"127.0.0.1","IPv6":"none","DERPPort":)" +
         std::to_string(derp) + ",\"STUNPort\":" + std::to_string(stun) + "}]}";
}

derp::DerpMap map_of(const std::vector<std::string>& regions) {
  std::string all;
  for (const std::string& text : regions) all += (all.empty() ? "" : ",") + text;
  return derp::DerpMap::parse("{\"Regions\":{" + all + "}}").value();
}

std::expected<RelayChoice, RelayChoiceError> choose(asio::io_context& context, RelayChoiceOptions options) {
  options.cache_dir.clear();
  return test::run(context, choose_relays(std::move(options)));
}

TEST(RelayLatency, OrdersRegionsByStun) {
  asio::io_context context;
  StunServer far(context, 60ms), near(context, 0ms), middle(context, 30ms), dead(context, -1ms);
  const auto map = map_of({region(1, 1, far.port()), region(2, 1, near.port()), region(3, 1, middle.port()),
                           region(4, 1, dead.port())});
  const auto measured = test::run(context, measure_relays(map, {}));
  EXPECT_TRUE(measured.udp);
  std::vector<derp::RegionId> order;
  for (const auto& entry : measured.regions) order.push_back(entry.region);
  EXPECT_THAT(order, testing::ElementsAre(2, 3, 1));
  EXPECT_LE(dead.requests(), 3);
}

TEST(RelayLatency, ReportsNothingOnceItsBudgetIsOver) {
  asio::io_context context;
  StunServer dead(context, -1ms);
  SilentPort silent(context);
  RelayLatencyOptions options;
  options.budget = 300ms;
  options.tls_after = 50ms;
  const auto map = map_of({region(1, silent.port(), dead.port())});
  const auto measured = test::run(context, measure_relays(map, options));
  EXPECT_TRUE(measured.regions.empty());
  EXPECT_FALSE(measured.udp);
}

TEST(RelayChoice, KeepsTheOrderOfNamedServersThatAnswer) {
  asio::io_context context;
  SilentPort one(context), two(context);
  const auto url = [](std::uint16_t port) { return "http://127.0.0.1:" + std::to_string(port); };
  RelayChoiceOptions options;
  options.derp_servers = {url(closed_port(context)), url(one.port()), url(two.port())};
  const auto choice = choose(context, options);
  ASSERT_TRUE(choice.has_value()) << choice.error().message;
  ASSERT_EQ(choice->relays.size(), 2u);
  EXPECT_EQ(choice->relays[0].port, one.port());
  EXPECT_EQ(choice->relays[1].port, two.port());
}

TEST(RelayChoice, TellsUsageFromUnreachable) {
  asio::io_context context;
  RelayChoiceOptions options;
  options.derp_servers = {"http://relay.example"};
  EXPECT_EQ(choose(context, options).error().failure, RelayChoiceFailure::Usage);
  options.derp_servers.assign(5, "http://127.0.0.1:1");
  EXPECT_EQ(choose(context, options).error().failure, RelayChoiceFailure::Usage);
  options.derp_servers = {"http://127.0.0.1:" + std::to_string(closed_port(context))};
  const auto refused = choose(context, options);
  EXPECT_EQ(refused.error().failure, RelayChoiceFailure::Unreachable);
  EXPECT_THAT(refused.error().message, HasSubstr(options.derp_servers[0]));
}

TEST(RelayChoice, CallsABlackHoleUnreachableWithinTheBudget) {
  asio::io_context context;
  SilentPort silent(context);
  RelayChoiceOptions options;
  options.budget = 300ms;
  options.derp_servers = {"https://127.0.0.1:" + std::to_string(silent.port())};
  const Instant before = now();
  const auto choice = choose(context, options);
  ASSERT_FALSE(choice.has_value());
  EXPECT_EQ(choice.error().failure, RelayChoiceFailure::Unreachable);
  EXPECT_LT(now() - before, 3s);
}

TEST(RelayChoice, CallsASilentMapServerUnreachableAndAMissingFileUnusable) {
  asio::io_context context;
  HttpServer silent(context, [](const auto&) { return std::string(); });
  RelayChoiceOptions options;
  options.budget = 300ms;
  options.default_map_urls = {silent.url("/a"), silent.url("/b")};
  EXPECT_EQ(choose(context, options).error().failure, RelayChoiceFailure::Unreachable);
  options.derp_map = "/nonexistent/map.json";
  EXPECT_EQ(choose(context, options).error().failure, RelayChoiceFailure::MapUnusable);
}

TEST(RelayChoice, DoesNotTrustStunWhereTcpIsRefused) {
  asio::io_context context;
  StunServer stun(context);
  const auto map = map_of({region(1, closed_port(context), stun.port())});
  HttpServer server(context, [&](const auto&) { return test::http_answer("200 OK", map.to_json()); });
  RelayChoiceOptions options;
  options.derp_map = server.url("/map");
  const auto choice = choose(context, options);
  ASSERT_FALSE(choice.has_value());
  EXPECT_EQ(choice.error().failure, RelayChoiceFailure::Unreachable) << choice.error().message;
  EXPECT_GT(stun.requests(), 0);
}

TEST(RelayChoice, RefusesAMapWithoutAUsableRelay) {
  asio::io_context context;
  HttpServer server(context, [](const auto&) {
    return test::http_answer("200 OK", R"({"Regions":{"1":{"Nodes":[{"HostName":"a","STUNOnly":true}]}}})");
  });
  RelayChoiceOptions options;
  options.derp_map = server.url("/map");
  EXPECT_EQ(choose(context, options).error().failure, RelayChoiceFailure::MapUnusable);
}

}  // namespace
}  // namespace dh::io
