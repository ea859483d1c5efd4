// Choosing among relays that are really there: our own servers, TLS, pins and STUN, on loopback.

#include <deque>
#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "io/clock.hh"
#include "io/derp_client.hh"
#include "io/derp_server.hh"
#include "io/loopback_servers.hh"
#include "io/relay_choice.hh"
#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"

namespace dh::io::testing {
namespace {

using ::testing::HasSubstr;

class LiveRelays : public ::testing::Test {
protected:
  void SetUp() override { crypto_init(); }
  void TearDown() override {
    for (DerpServer& server : servers_) server.stop();
    context_.poll();
  }
  /// TLS, and STUN unless it is to be answered by somebody else.
  DerpServer& serve(bool stun) {
    DerpServerOptions options;
    options.listen = {{IpAddress::v4(127, 0, 0, 1), 0}};
    if (stun) options.stun = options.listen;
    options.key = KeyPair::generate(rng_);
    SelfSignedOptions names;
    names.hosts = {"127.0.0.1", "relay.test"};
    options.tls = make_self_signed(names, wall_now());
    DerpServer& server = servers_.emplace_back(context_.get_executor(), options, rng_);
    server.start();
    return server;
  }
  static std::string region(int id, const DerpServer& server, std::uint16_t stun,
                            std::optional<ByteArray<32>> pin, const std::string& host = "127.0.0.1",
                            const std::string& ipv4 = "127.0.0.1") {
    return "\"" + std::to_string(id) + R"(":{"Nodes":[{"HostName":")" + host + R"(","IPv4":")" + ipv4 +
           R"(","IPv6":"none","DERPPort":)" + std::to_string(server.endpoints().front().port) +
           ",\"STUNPort\":" + std::to_string(stun) + R"(,"CertName":"sha256-raw:)" + to_hex(*pin) + "\"}]}";
  }
  RelayChoiceOptions options_for(const std::string& regions) {
    map_.emplace(context_, [regions](const auto&) {
      return test::http_answer("200 OK", "{\"Regions\":{" + regions + "}}");
    });
    RelayChoiceOptions options;
    options.cache_dir.clear();
    options.derp_map = map_->url("/map");
    options.wall_now = wall_now();
    return options;
  }
  std::expected<RelayChoice, RelayChoiceError> choose(RelayChoiceOptions options) {
    return run(context_, choose_relays(std::move(options)));
  }

  asio::io_context context_;
  SystemRng rng_;
  std::deque<DerpServer> servers_;
  std::optional<test::HttpServer> map_;
};

TEST_F(LiveRelays, AreRankedByStunProvedByTlsAndTakeALogin) {
  DerpServer& near = serve(true);
  DerpServer& far = serve(false);
  test::StunServer slow(context_, 60ms);
  const auto choice = choose(options_for(region(7, far, slow.port(), far.pin()) + "," +
                                         region(9, near, near.stun_endpoints()[0].port, near.pin())));
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_TRUE(choice->udp_works);
  EXPECT_EQ(choice->note, "");
  ASSERT_EQ(choice->relays.size(), 2u);
  EXPECT_EQ(choice->relays[0].region, 9u);
  EXPECT_EQ(choice->relays[0].pin, near.pin());
  EXPECT_EQ(choice->relays[0].port, near.endpoints()[0].port);
  EXPECT_EQ(choice->relays[1].region, 7u);
  EXPECT_EQ(choice->relays[1].pin, far.pin());
  EXPECT_EQ(near.counters().logins, 0u) << "choosing makes no login";

  RecordingHandler handler;
  DerpClientOptions options;
  options.key = KeyPair::generate(rng_);
  DerpClient client(context_.get_executor(), choice->relays[0], options, rng_, handler);
  client.start();
  ASSERT_TRUE(run_until(context_, [&] { return client.is_up() || !handler.downs.empty(); }));
  EXPECT_TRUE(client.is_up());
  EXPECT_EQ(handler.server_key, near.public_key());
  client.stop();
}

TEST_F(LiveRelays, WithAnotherCertificateThanTheMapNamesAreNotPromised) {
  DerpServer& impostor = serve(true);
  DerpServer& honest = serve(false);
  test::StunServer slow(context_, 40ms);
  const std::string wrong = region(1, impostor, impostor.stun_endpoints()[0].port, honest.pin());
  const auto choice = choose(options_for(wrong + "," + region(2, honest, slow.port(), honest.pin())));
  ASSERT_TRUE(choice) << choice.error().message;
  ASSERT_EQ(choice->relays.size(), 1u);
  EXPECT_EQ(choice->relays[0].region, 2u);

  const auto nobody = choose(options_for(wrong));
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().failure, RelayChoiceFailure::Rejected);
  EXPECT_THAT(nobody.error().message, HasSubstr("not the pinned one"));
}

TEST_F(LiveRelays, AreMeasuredByConnectingWhereUdpIsDead) {
  DerpServer& relay = serve(false);
  test::StunServer dead(context_, -1ms);
  const auto choice = choose(options_for(region(3, relay, dead.port(), relay.pin())));
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_FALSE(choice->udp_works);
  ASSERT_EQ(choice->relays.size(), 1u);
  EXPECT_EQ(choice->relays[0].pin, relay.pin());
}

// A resolver that answers for "here.test" and leaves every other name waiting for ever.
struct SilentDns {
  Lookup lookup() {
    return [this](const std::string& host, LookupDone done) {
      asked.push_back(host);
      if (host == "here.test")
        done({{}, {IpAddress::v4(127, 0, 0, 1)}});
      else
        waiting.push_back(std::move(done));
    };
  }
  std::vector<std::string> asked;
  std::vector<LookupDone> waiting;
};

TEST_F(LiveRelays, AreFoundBesideOneWhoseNameDnsNeverAnswers) {
  DerpServer& relay = serve(true);
  const std::uint16_t stun = relay.stun_endpoints()[0].port;
  SilentDns dns;
  auto options = options_for(region(1, relay, stun, relay.pin(), "lost.test", "") + "," +
                             region(2, relay, stun, relay.pin(), "127.0.0.1") + "," +
                             region(4, relay, stun, relay.pin(), "127.0.0.1"));
  options.dial.lookup = dns.lookup();
  const Instant before = now();
  const auto choice = choose(options);
  EXPECT_LT(now() - before, options.budget);
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_THAT(dns.asked, ::testing::Contains("lost.test"));
  ASSERT_EQ(choice->relays.size(), 2u);
  for (const auto& chosen : choice->relays) EXPECT_NE(chosen.region, 1u);
}

TEST_F(LiveRelays, GivenByNameAreTakenBesideOneThatDnsNeverAnswersFor) {
  DerpServer& relay = serve(false);
  SilentDns dns;
  RelayChoiceOptions options;
  const std::string tail =
      ":" + std::to_string(relay.endpoints()[0].port) + "?pin=sha256-raw:" + to_hex(*relay.pin());
  options.derp_servers = {"https://lost.test" + tail, "https://127.0.0.1" + tail};
  options.dial.lookup = dns.lookup();
  const Instant before = now();
  const auto choice = choose(options);
  EXPECT_LT(now() - before, options.budget);
  ASSERT_TRUE(choice) << choice.error().message;
  ASSERT_EQ(choice->relays.size(), 1u);
  EXPECT_EQ(choice->relays[0].host, "127.0.0.1");

  options.derp_servers = {"https://lost.test" + tail};
  options.budget = 300ms;
  const auto nobody = choose(options);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().failure, RelayChoiceFailure::Unreachable);
  EXPECT_EQ(dns.waiting.size(), 2u);
}

TEST_F(LiveRelays, StayUnreachedWhileTheirNameCannotBeResolvedAndComeUpWhenItCan) {
  DerpServer& relay = serve(false);
  bool heals = false;
  RecordingHandler handler;
  DerpClientOptions options;
  options.key = KeyPair::generate(rng_);
  options.dial.timeout = 500ms;
  options.dial.lookup = [&heals](const std::string&, const LookupDone& done) {
    if (heals) done({{}, {IpAddress::v4(127, 0, 0, 1)}});
  };
  session::RelayRef ref;
  ref.host = "relay.test";
  ref.port = relay.endpoints()[0].port;
  ref.pin = relay.pin();
  DerpClient client(context_.get_executor(), ref, options, rng_, handler);
  client.start();
  ASSERT_TRUE(run_until(context_, [&] { return !handler.downs.empty(); }));
  EXPECT_THAT(handler.downs[0], HasSubstr("DNS did not answer in time"));
  heals = true;
  ASSERT_TRUE(run_until(context_, [&] { return client.is_up(); })) << handler.downs.back();
  client.stop();
}

}  // namespace
}  // namespace dh::io::testing
