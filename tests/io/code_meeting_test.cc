// Codes over real sockets: our own relay, and multicast, all on the loopback interface.

#include "io/code_meeting.hh"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <unistd.h>

#include "io/clock.hh"
#include "io/derp_client.hh"
#include "io/derp_server.hh"
#include "io/self_relay.hh"
#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"

namespace dh::io::testing {
namespace {

using session::CodeEnd;
using ::testing::HasSubstr;

// A code's owner that writes everything down.
struct RecordingObserver final : CodeObserver {
  void on_code(const session::Code& shown, Duration) override { code = shown; }
  void on_code_wrong_try(unsigned number, unsigned) override { wrong_tries = number; }
  void on_code_used() override { used = true; }
  void on_code_trouble(const std::string& why) override { troubles.push_back(why); }
  void on_code_ended(CodeEnd reason) override { end = reason; }
  std::optional<session::Code> code;
  unsigned wrong_tries = 0;
  bool used = false;
  std::vector<std::string> troubles;
  std::optional<CodeEnd> end;
};

class CodeMeetingIo : public ::testing::Test {
protected:
  void SetUp() override {
    crypto_init();
    DerpServerOptions options;
    options.listen = {{IpAddress::v4(127, 0, 0, 1), 0}};
    options.key = KeyPair::generate(rng_);
    server_.emplace(context_.get_executor(), options, rng_);
    server_->start();
    relay_.host = "127.0.0.1";
    relay_.port = server_->endpoints().front().port;
    relay_.plain_http = true;
    token_.session_id.fill(std::byte{1});
    token_.expires = wall_now() + std::chrono::hours(1);
    token_.capabilities = static_cast<std::uint32_t>(session::Capability::Transfer);
    token_.relays = {relay_};
    token_.listener_derp = KeyPair::generate(rng_).pub;
    token_.listener_noise = KeyPair::generate(rng_).pub;
    lan_.port = static_cast<std::uint16_t>(41'000 + rng_.below(20'000));
    lan_.interfaces = {::if_nametoindex("lo")};
  }
  void TearDown() override {
    host_.reset();
    if (server_) server_->stop();
    context_.poll();
  }
  CodeHostOptions host_options() {
    CodeHostOptions options;
    options.relay = relay_;
    options.token_text = session::format_token(token_);
    options.stretch = kCheap;
    options.lan = lan_;
    return options;
  }
  void host(CodeHostOptions options) {
    host_.emplace(context_.get_executor(), std::move(options), rng_, observer_);
    host_->start();
    ASSERT_TRUE(run_until(context_, [&] { return observer_.code || observer_.end; }));
    ASSERT_TRUE(observer_.code) << (observer_.troubles.empty() ? "" : observer_.troubles.back());
  }
  ResolveCodeOptions options_for(const session::Code& code) {
    ResolveCodeOptions options(code);
    options.servers = {relay_};
    options.wall_now = wall_now();
    options.stretch = kCheap;
    options.lan = lan_;
    options.cache_dir.clear();
    options.wait = 3s;
    return options;
  }
  std::expected<session::Token, CodeError> resolve(ResolveCodeOptions options) {
    return run(context_, resolve_code(std::move(options), rng_));
  }
  static session::Code with_wrong_secret(const session::Code& code) {
    const std::string number = code.region() == 0 ? "" : std::to_string(code.region()) + "-";
    const std::string secret = code.secret_text() == "zoo-zoo" ? "-able-able" : "-zoo-zoo";
    return *session::parse_code(number + code.meeting_text() + secret);
  }

  static constexpr session::StretchCost kCheap{1, 8192};
  asio::io_context context_;
  SystemRng rng_;
  std::optional<DerpServer> server_;
  session::RelayRef relay_;
  session::Token token_;
  LanGroups lan_;
  RecordingObserver observer_;
  std::optional<CodeHost> host_;
};

TEST_F(CodeMeetingIo, HandsTheTokenOverAnOwnRelay) {
  ASSERT_NO_FATAL_FAILURE(host(host_options()));
  EXPECT_EQ(observer_.code->region(), 0u);
  EXPECT_EQ(observer_.code->size(), 4u);
  const auto token = resolve(options_for(*observer_.code));
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(*token, token_);
  EXPECT_TRUE(observer_.used);
  EXPECT_EQ(observer_.wrong_tries, 0u);
}

TEST_F(CodeMeetingIo, FindsTheRelayOfARegionByItsNumber) {
  relay_.region = 12;
  const std::string path = "/tmp/derphole-code-map-" + std::to_string(::getpid()) + ".json";
  std::ofstream(path) << R"({"Regions":{"12":{"RegionID":12,"Nodes":[{"HostName":"127.0.0.1","DERPPort":)"
                      << relay_.port << "}]}}}";
  // The map's node would be dialled with TLS: what is shown here is that the place is looked up and named.
  ASSERT_NO_FATAL_FAILURE(host(host_options()));
  EXPECT_EQ(observer_.code->region(), 12u);
  ResolveCodeOptions options = options_for(*observer_.code);
  options.derp_map = path;
  options.wait = 1s;
  const auto token = resolve(std::move(options));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, CodeErrorKind::NoRelay);
  ResolveCodeOptions unknown = options_for(*session::parse_code("13-able-able-able-able"));
  unknown.derp_map = path;
  const auto nowhere = resolve(std::move(unknown));
  ::unlink(path.c_str());
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, CodeErrorKind::Unusable);
  EXPECT_THAT(nowhere.error().message, HasSubstr("begins with 13"));
}

TEST_F(CodeMeetingIo, AWrongSecretIsSaidOnBothSides) {
  ASSERT_NO_FATAL_FAILURE(host(host_options()));
  const auto token = resolve(options_for(with_wrong_secret(*observer_.code)));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, CodeErrorKind::WrongCode);
  EXPECT_EQ(observer_.wrong_tries, 1u);
  EXPECT_FALSE(observer_.used);
}

TEST_F(CodeMeetingIo, ACodeNobodyHasEndsInTime) {
  ResolveCodeOptions options = options_for(*session::parse_code("able-able-able-able"));
  options.wait = 1s;
  const auto token = resolve(std::move(options));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, CodeErrorKind::Nobody);
}

TEST_F(CodeMeetingIo, ARelayThatIsNotThereIsNamedInTheSentence) {
  server_->stop();
  ResolveCodeOptions options = options_for(*session::parse_code("able-able-able-able"));
  options.wait = 1s;
  const auto token = resolve(std::move(options));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, CodeErrorKind::NoRelay);
  EXPECT_THAT(token.error().message, HasSubstr("127.0.0.1"));
}

TEST_F(CodeMeetingIo, FindsASelfHostedRelayByTheWordsAlone) {
  SelfRelay own(context_.get_executor(), rng_);
  CodeHostOptions options = host_options();
  options.relay = own.ref();
  options.own_relay = own.loopback();
  ASSERT_NO_FATAL_FAILURE(host(std::move(options)));
  ResolveCodeOptions wanted = options_for(*observer_.code);
  wanted.servers.clear();
  const auto token = resolve(std::move(wanted));
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(*token, token_);
}

TEST_F(CodeMeetingIo, OtherWordsFindNothingOnTheNetwork) {
  SelfRelay own(context_.get_executor(), rng_);
  CodeHostOptions options = host_options();
  options.relay = own.ref();
  options.own_relay = own.loopback();
  ASSERT_NO_FATAL_FAILURE(host(std::move(options)));
  ResolveCodeOptions wanted = options_for(*session::parse_code("zoo-zone-able-able"));
  wanted.servers.clear();
  wanted.wait = 1s;
  const auto token = resolve(std::move(wanted));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, CodeErrorKind::Nobody);
  EXPECT_THAT(token.error().message, HasSubstr("on this network"));
}

TEST_F(CodeMeetingIo, SomebodyElseWithTheSameKeyEndsTheCode) {
  CodeHostOptions quick = host_options();
  quick.self_check_every = 500ms;
  ASSERT_NO_FATAL_FAILURE(host(std::move(quick)));
  const auto key = session::meeting_key(*observer_.code, session::place_of_server(relay_),
                                        session::meeting_hour(wall_now()), kCheap);
  RecordingHandler thief;
  DerpClientOptions options;
  options.key = *key;
  options.ping_interval = 200ms;  // speaks last most of the time
  DerpClient client(context_.get_executor(), relay_, std::move(options), rng_, thief);
  client.start();
  ASSERT_TRUE(run_until(
      context_, [&] { return observer_.end.has_value(); }, std::chrono::seconds(60)));
  EXPECT_EQ(*observer_.end, CodeEnd::TakenOver);
}

TEST_F(CodeMeetingIo, StopsFromInsideItsOwnCallback) {
  struct Quitter final : CodeObserver {
    void on_code(const session::Code&, Duration) override { host->reset(), gone = true; }
    void on_code_wrong_try(unsigned, unsigned) override {}
    void on_code_used() override {}
    void on_code_trouble(const std::string&) override {}
    void on_code_ended(CodeEnd) override { ADD_FAILURE() << "called after it was stopped"; }
    std::optional<CodeHost>* host = nullptr;
    bool gone = false;
  } quitter;
  quitter.host = &host_;
  host_.emplace(context_.get_executor(), host_options(), rng_, quitter);
  host_->start();
  ASSERT_TRUE(run_until(context_, [&] { return quitter.gone; }));
  context_.poll();
}

}  // namespace
}  // namespace dh::io::testing
