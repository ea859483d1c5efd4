#include "io/derp_client.hh"

#include <gtest/gtest.h>

#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"
#include "test_relay.hh"

namespace dh::io::testing {
namespace {

class Client {
public:
  Client(asio::io_context& context, const TestRelay& relay, Rng& rng, DerpClientOptions options = {}) {
    options.key = KeyPair::generate(rng);
    key_ = options.key.pub;
    session::RelayRef ref;
    ref.host = "127.0.0.1";
    ref.port = relay.port();
    ref.plain_http = true;
    client_.emplace(context.get_executor(), ref, std::move(options), rng, handler);
  }
  DerpClient* operator->() { return &*client_; }
  const PublicKey& key() const { return key_; }
  void destroy() { client_.reset(); }
  RecordingHandler handler;

private:
  PublicKey key_;
  std::optional<DerpClient> client_;
};

class DerpClientTest : public ::testing::Test {
protected:
  void SetUp() override { crypto_init(); }
  void log_in(Client& client) {
    client->start();
    ASSERT_TRUE(run_until(context_, [&] { return client->is_up(); }))
        << (client.handler.downs.empty() ? "" : client.handler.downs.back());
  }
  // Runs until a reason with `words` in it was given.
  void expect_down(Client& client, const std::string& words) {
    ASSERT_TRUE(run_until(context_, [&] {
      for (const std::string& why : client.handler.downs)
        if (why.find(words) != std::string::npos) return true;
      return false;
    })) << (client.handler.downs.empty() ? "" : client.handler.downs.back());
  }
  // `to` has heard from `from`, so the relay will tell it when that one leaves.
  void meet(Client& from, Client& to) {
    ASSERT_TRUE(from->send(to.key(), as_bytes("hello")));
    ASSERT_TRUE(run_until(context_, [&] { return !to.handler.packets.empty(); }));
  }
  asio::io_context context_;
  SystemRng rng_;
  TestRelay relay_{context_, rng_};
};

TEST_F(DerpClientTest, LogsInAndCarriesPacketsBothWays) {
  Client alice(context_, relay_, rng_), bob(context_, relay_, rng_);
  log_in(alice);
  log_in(bob);
  EXPECT_EQ(alice.handler.server_key, relay_.key());
  EXPECT_NE(relay_.requests()[0].find("User-Agent: derphole/"), std::string::npos);
  EXPECT_EQ(relay_.requests()[0].find("Fast-Start"), std::string::npos)
      << "plain HTTP has no meta certificate";
  ASSERT_TRUE(alice->send(bob.key(), as_bytes("to bob")));
  ASSERT_TRUE(bob->send(alice.key(), as_bytes("to alice")));
  ASSERT_TRUE(run_until(
      context_, [&] { return bob.handler.packets.size() == 1 && alice.handler.packets.size() == 1; }));
  EXPECT_EQ(bob.handler.packets[0], std::pair(alice.key(), to_bytes(as_bytes("to bob"))));
  EXPECT_EQ(alice.handler.packets[0], std::pair(bob.key(), to_bytes(as_bytes("to alice"))));
}

TEST_F(DerpClientTest, SendsNothingWhileDownAndNothingTooLong) {
  Client alice(context_, relay_, rng_);
  EXPECT_FALSE(alice->send(alice.key(), as_bytes("x")));
  EXPECT_FALSE(alice->writable());
  log_in(alice);
  EXPECT_TRUE(alice->writable());
  EXPECT_FALSE(alice->send(alice.key(), Bytes(65'537)));
  EXPECT_TRUE(alice->send(alice.key(), Bytes(65'536)));
}

TEST_F(DerpClientTest, StopsBeingWritableAtTheHighMarkAndSaysWhenItDrained) {
  DerpClientOptions options;
  options.high_mark = 100'000;
  Client alice(context_, relay_, rng_, options);
  log_in(alice);
  const PublicKey nobody = KeyPair::generate(rng_).pub;
  while (alice->writable()) ASSERT_TRUE(alice->send(nobody, Bytes(10'000)));
  EXPECT_EQ(alice.handler.writables, 0);
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.writables == 1; }));
  EXPECT_TRUE(alice->writable());
}

TEST_F(DerpClientTest, IsRefusedAtSixteenHighMarks) {
  DerpClientOptions options;
  options.high_mark = 10'000;
  Client alice(context_, relay_, rng_, options);
  log_in(alice);
  std::size_t taken = 0;
  while (taken < 1000 && alice->send(alice.key(), Bytes(1000))) ++taken;
  EXPECT_GE(taken, 154u);
  EXPECT_LE(taken, 160u);
}

TEST_F(DerpClientTest, ComesBackAfterTheRelayWasKilled) {
  Client alice(context_, relay_, rng_);
  log_in(alice);
  relay_.kill();
  expect_down(alice, "closed the connection");
  expect_down(alice, "cannot connect");
  EXPECT_FALSE(alice->is_up());
  relay_.start_again();
  ASSERT_TRUE(run_until(context_, [&] { return alice->is_up(); }));
  EXPECT_EQ(alice.handler.ups, 2);
  EXPECT_EQ(alice->counters().logins, 2u);
}

TEST_F(DerpClientTest, ReconnectsWhenAskedTo) {
  Client alice(context_, relay_, rng_);
  log_in(alice);
  alice->reconnect_now();
  EXPECT_FALSE(alice->is_up());
  ASSERT_TRUE(run_until(context_, [&] { return alice->is_up(); }));
  EXPECT_EQ(alice.handler.ups, 2);
  ASSERT_EQ(alice.handler.downs.size(), 1u);
  EXPECT_NE(alice.handler.downs[0].find("being reconnected"), std::string::npos);
}

TEST_F(DerpClientTest, LeavesARelayThatFellSilent) {
  DerpClientOptions options;
  options.ping_interval = 50ms;
  relay_.manners = Manners::Silent;
  Client alice(context_, relay_, rng_, options);
  log_in(alice);
  expect_down(alice, "stopped answering");
}

TEST_F(DerpClientTest, MeasuresTheRoundTripByItsOwnPings) {
  DerpClientOptions options;
  options.ping_interval = 10ms;
  Client alice(context_, relay_, rng_, options);
  log_in(alice);
  ASSERT_TRUE(run_until(context_, [&] { return alice->rtt().has_value(); }));
  EXPECT_GT(*alice->rtt(), Duration(0));
}

TEST_F(DerpClientTest, SaysThatItWasRejected) {
  relay_.manners = Manners::Reject;
  Client alice(context_, relay_, rng_);
  alice->start();
  expect_down(alice, "closed the connection at login");
  EXPECT_GE(alice->counters().rejections, 1u);
  EXPECT_EQ(alice.handler.ups, 0);
}

TEST_F(DerpClientTest, QuotesAnHttpRefusalAndTriesWebSocketNext) {
  relay_.manners = Manners::Refuse;
  relay_.page = "HTTP/1.1 503 Busy\r\nContent-Length: 13\r\n\r\n<b>Later.</b>";
  Client alice(context_, relay_, rng_);
  alice->start();
  expect_down(alice, "answered 503 Busy (Later.)");
  ASSERT_TRUE(run_until(context_, [&] { return relay_.requests().size() >= 3; }));
  EXPECT_NE(relay_.requests()[0].find("Upgrade: DERP"), std::string::npos);
  EXPECT_NE(relay_.requests()[1].find("Sec-WebSocket-Protocol: derp"), std::string::npos);
  EXPECT_NE(relay_.requests()[2].find("Upgrade: DERP"), std::string::npos);
  relay_.manners = Manners::Relay;
  ASSERT_TRUE(run_until(context_, [&] { return alice->is_up(); }));
}

TEST_F(DerpClientTest, NamesWhatIsNotDerpBehindA101) {
  relay_.manners = Manners::Garbage;
  Client alice(context_, relay_, rng_);
  alice->start();
  expect_down(alice, "does not speak DERP");
}

TEST_F(DerpClientTest, GivesUpInTimeOnWhoTakesTheConnectionAndStaysMute) {
  DerpClientOptions options;
  options.dial.timeout = 100ms;
  for (const bool websocket : {false, true}) {
    options.force_websocket = websocket;
    relay_.manners = Manners::Mute;
    Client alice(context_, relay_, rng_, options);
    alice->start();
    expect_down(alice, "did not answer the DERP request in time");
    EXPECT_FALSE(alice->is_up());
  }
}

TEST_F(DerpClientTest, GivesUpInTimeOnARelayThatNeverGreets) {
  DerpClientOptions options;
  options.dial.timeout = 100ms;
  relay_.manners = Manners::Wordless;
  Client alice(context_, relay_, rng_, options);
  alice->start();
  expect_down(alice, "did not answer the login in time");
  EXPECT_EQ(alice->counters().rejections, 0u) << "a mute relay has refused nobody";
  relay_.manners = Manners::Relay;
  ASSERT_TRUE(run_until(context_, [&] { return alice->is_up(); }));
}

TEST_F(DerpClientTest, ReportsWhatTheRelaySaysAboutItsHealth) {
  Client alice(context_, relay_, rng_);
  log_in(alice);
  relay_.announce_health("clock is \x1b[31mwrong");
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.health.size() == 1; }));
  EXPECT_EQ(alice.handler.health[0], "clock is \\x1b[31mwrong") << "fit to print";
  relay_.announce_health("");
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.health.size() == 2; }));
  EXPECT_EQ(alice.handler.health[1], "") << "well again";
  EXPECT_TRUE(alice->is_up());
  EXPECT_TRUE(alice.handler.downs.empty());
}

TEST_F(DerpClientTest, WaitsTheTimeARestartingRelayNamed) {
  Client alice(context_, relay_, rng_);
  log_in(alice);
  relay_.announce_restart(250ms);
  Client bob(context_, relay_, rng_);
  log_in(bob);  // by now the announcement has been read
  ASSERT_TRUE(alice->send(bob.key(), as_bytes("x")));
  ASSERT_TRUE(run_until(context_, [&] { return !bob.handler.packets.empty(); }));
  relay_.kill();
  relay_.start_again();
  const Instant killed = now();
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.ups == 2; }));
  EXPECT_GE(now() - killed, 240ms);
}

TEST_F(DerpClientTest, CallsNobodyAfterStopAndMayStopItselfInACallback) {
  Client alice(context_, relay_, rng_), bob(context_, relay_, rng_);
  log_in(alice);
  log_in(bob);
  meet(bob, alice);
  bob.handler.on_each_packet = [&] { bob->stop(); };
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(alice->send(bob.key(), as_bytes("x")));
  ASSERT_TRUE(run_until(context_, [&] { return !alice.handler.gone.empty(); }));
  EXPECT_EQ(bob.handler.packets.size(), 1u);
  EXPECT_TRUE(bob.handler.downs.empty());
  EXPECT_FALSE(bob->is_up());
}

TEST_F(DerpClientTest, MayBeDestroyedInACallbackAndInEveryPhase) {
  Client bob(context_, relay_, rng_);
  log_in(bob);
  for (int turns = 0; turns < 40; ++turns) {
    Client short_lived(context_, relay_, rng_);
    short_lived->start();
    for (int i = 0; i < turns; ++i) context_.poll_one();
    short_lived.destroy();
  }
  Client alice(context_, relay_, rng_);
  log_in(alice);
  meet(bob, alice);
  bob.handler.on_each_packet = [&] { bob.destroy(); };
  ASSERT_TRUE(alice->send(bob.key(), as_bytes("x")));
  ASSERT_TRUE(run_until(context_, [&] { return !alice.handler.gone.empty(); }));
  EXPECT_EQ(bob.handler.packets.size(), 1u);
}

}  // namespace
}  // namespace dh::io::testing
