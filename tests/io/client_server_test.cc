// Our client against our own relay, over every way frames can travel.

#include <gtest/gtest.h>

#include "derp/meta_cert.hh"
#include "io/clock.hh"
#include "io/derp_client.hh"
#include "io/derp_server.hh"
#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"
#include "tls_front.hh"

namespace dh::io::testing {
namespace {

struct Way {
  const char* name;
  bool tls = false;             // the relay itself speaks TLS
  bool behind_a_front = false;  // a TLS terminator stands before a plain relay: no meta certificate
  bool websocket = false;
  bool fast_start = false;  // what must come of it
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

constexpr Way kWays[] = {
    {.name = "PlainUpgrade"},
    {.name = "TlsFastStart", .tls = true, .fast_start = true},
    {.name = "TlsUpgrade", .behind_a_front = true},
    {.name = "Ws", .websocket = true},
    {.name = "Wss", .tls = true, .websocket = true},
    {.name = "WssBehindATerminator", .behind_a_front = true, .websocket = true},
};

class ClientAndServer : public ::testing::TestWithParam<Way> {
protected:
  struct Peer {
    RecordingHandler handler;
    PublicKey key;
    std::optional<DerpClient> client;
    DerpClient* operator->() { return &*client; }
  };

  void SetUp() override {
    crypto_init();
    DerpServerOptions options;
    options.listen = {{IpAddress::v4(127, 0, 0, 1), 0}};
    options.key = KeyPair::generate(rng_);
    if (GetParam().tls) {
      SelfSignedOptions names;
      names.hosts = {"relay.test"};
      options.tls = make_self_signed(names, wall_now());
    }
    server_.emplace(context_.get_executor(), options, rng_);
    server_->start();
    relay_.host = "relay.test";
    relay_.addresses = {IpAddress::v4(127, 0, 0, 1)};
    relay_.port = server_->endpoints().front().port;
    relay_.pin = server_->pin();
    relay_.plain_http = !GetParam().tls && !GetParam().behind_a_front;
    if (GetParam().behind_a_front) {
      front_.emplace(context_, TlsFront::Kind::Terminator, certificate_, server_->endpoints().front());
      relay_.port = front_->port();
      relay_.pin = certificate_.pin();
    }
  }
  void TearDown() override {
    alice_.client.reset();
    bob_.client.reset();
    server_->stop();
    context_.poll();
  }
  void log_in(Peer& peer) {
    DerpClientOptions options;
    options.key = KeyPair::generate(rng_);
    options.force_websocket = GetParam().websocket;
    peer.key = options.key.pub;
    peer.client.emplace(context_.get_executor(), relay_, options, rng_, peer.handler);
    peer->start();
    ASSERT_TRUE(run_until(context_, [&] { return peer->is_up(); }))
        << (peer.handler.downs.empty() ? "" : peer.handler.downs.back());
  }
  void send(Peer& from, Peer& to, ByteView packet) {
    to.handler.packets.clear();
    ASSERT_TRUE(from->send(to.key, packet));
    ASSERT_TRUE(run_until(context_, [&] { return !to.handler.packets.empty(); })) << packet.size();
    EXPECT_EQ(to.handler.packets[0].first, from.key);
    EXPECT_TRUE(to.handler.packets[0].second == to_bytes(packet)) << packet.size();
  }

  asio::io_context context_;
  SystemRng rng_;
  TestCertificate certificate_;
  std::optional<DerpServer> server_;
  std::optional<TlsFront> front_;
  session::RelayRef relay_;
  Peer alice_, bob_;
};

TEST_P(ClientAndServer, PassPacketsOfEverySizeBothWays) {
  const Way& way = GetParam();
  ASSERT_NO_FATAL_FAILURE(log_in(alice_));
  ASSERT_NO_FATAL_FAILURE(log_in(bob_));
  EXPECT_EQ(alice_.handler.server_key, server_->public_key());
  for (const std::size_t size : {0u, 1u, 1400u, 16'384u, 32'768u, 40'000u, 65'536u}) {
    Bytes packet(size);
    rng_.fill(packet);
    ASSERT_NO_FATAL_FAILURE(send(alice_, bob_, packet));
    ASSERT_NO_FATAL_FAILURE(send(bob_, alice_, packet));
  }
  EXPECT_EQ(alice_->counters().attempts, 1u) << "the first try must do";
  EXPECT_EQ(alice_->counters().fast_starts, way.fast_start ? 1u : 0u);
  EXPECT_EQ(alice_->counters().websockets, way.websocket ? 1u : 0u);
  EXPECT_EQ(server_->shell_counters().fast_starts, way.fast_start ? 2u : 0u);
  EXPECT_EQ(server_->shell_counters().websockets, way.websocket ? 2u : 0u);
  EXPECT_EQ(server_->counters().logins, 2u);
}

TEST_P(ClientAndServer, HearAtOnceWhenAPeerIsNotThereOrLeaves) {
  ASSERT_NO_FATAL_FAILURE(log_in(alice_));
  ASSERT_NO_FATAL_FAILURE(log_in(bob_));
  ASSERT_NO_FATAL_FAILURE(send(bob_, alice_, as_bytes("hello")));
  Bytes disco = to_bytes(as_bytes("TS\xf0\x9f\x92\xac"));
  disco.resize(62);  // relays answer for packets of this shape only
  const PublicKey nobody = KeyPair::generate(rng_).pub;
  ASSERT_TRUE(alice_->send(nobody, disco));
  ASSERT_TRUE(run_until(context_, [&] { return !alice_.handler.gone.empty(); }));
  EXPECT_EQ(alice_.handler.gone[0], std::pair(nobody, derp::PeerGoneReason::NotHere));
  bob_->stop();
  ASSERT_TRUE(run_until(context_, [&] { return alice_.handler.gone.size() == 2; }));
  EXPECT_EQ(alice_.handler.gone[1], std::pair(bob_.key, derp::PeerGoneReason::Disconnected));
}

TEST_P(ClientAndServer, ComeTogetherAgainAfterARestart) {
  ASSERT_NO_FATAL_FAILURE(log_in(alice_));
  const Endpoint before = server_->endpoints().front();
  const bool drained = run(context_, [](DerpServer& server) -> asio::awaitable<bool> {
    co_await server.drain(10ms, 1s);
    co_return true;
  }(*server_));
  ASSERT_TRUE(drained);
  ASSERT_TRUE(run_until(context_, [&] { return !alice_.handler.downs.empty(); }));
  DerpServerOptions options;
  options.listen = {before};
  options.key = KeyPair::generate(rng_);
  if (GetParam().tls) {
    SelfSignedOptions names;
    names.hosts = {"relay.test"};
    options.tls = make_self_signed(names, wall_now());
  }
  // Another life of the relay, with another key and, where it has one, another certificate: a pin keeps
  // strangers out.
  server_.emplace(context_.get_executor(), options, rng_);
  server_->start();
  if (GetParam().tls) {
    ASSERT_TRUE(run_until(context_, [&] {
      return alice_.handler.downs.back().find("not the pinned one") != std::string::npos;
    }));
    EXPECT_FALSE(alice_->is_up());
  } else {
    ASSERT_TRUE(run_until(context_, [&] { return alice_->is_up(); }));
    EXPECT_EQ(alice_.handler.server_key, server_->public_key());
  }
}

using ClientBehindAMiddlebox = ClientAndServer;

TEST_P(ClientBehindAMiddlebox, DoesWithoutFastStartWhereThatIsHungUpOn) {
  Secret<32> seed;
  rng_.fill(seed.expose_mutable());
  const UnixSeconds today = wall_now();
  front_->show_meta_certificate(
      derp::make_meta_cert(server_->public_key(), seed, {today - 24h, today + 24h}));
  front_->hangs_up_on_fast_start = true;
  ASSERT_NO_FATAL_FAILURE(log_in(alice_));
  ASSERT_EQ(alice_.handler.downs.size(), 1u);
  EXPECT_NE(alice_.handler.downs[0].find("closed the connection instead of speaking DERP"),
            std::string::npos);
  EXPECT_EQ(alice_->counters().attempts, 2u);
  EXPECT_EQ(alice_->counters().fast_starts, 0u);
  EXPECT_EQ(alice_->counters().websockets, 0u);
}

constexpr Way kTerminated = {.name = "TlsUpgrade", .behind_a_front = true};
INSTANTIATE_TEST_SUITE_P(Over, ClientBehindAMiddlebox, ::testing::Values(kTerminated),
                         [](const auto& way) { return std::string(way.param.name); });
INSTANTIATE_TEST_SUITE_P(Over, ClientAndServer, ::testing::ValuesIn(kWays),
                         [](const auto& way) { return std::string(way.param.name); });

}  // namespace
}  // namespace dh::io::testing
