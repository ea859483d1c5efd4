// A relay behind an HTTPS proxy: TLS inside TLS, each with a certificate of its own to judge.

#include <gtest/gtest.h>

#include "io/clock.hh"
#include "io/derp_client.hh"
#include "io/derp_server.hh"
#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"
#include "tls_front.hh"

namespace dh::io::testing {
namespace {

CertificateWish for_loopback() {
  CertificateWish wish;
  wish.name = "proxy";
  wish.subject_alt_name = "IP:127.0.0.1";
  return wish;
}

class HttpsProxy : public ::testing::Test {
protected:
  void SetUp() override {
    crypto_init();
    DerpServerOptions options;
    options.listen = {{IpAddress::v4(127, 0, 0, 1), 0}};
    options.key = KeyPair::generate(rng_);
    SelfSignedOptions names;
    names.hosts = {"relay.test"};
    options.tls = make_self_signed(names, wall_now());
    server_.emplace(context_.get_executor(), options, rng_);
    server_->start();
    serve(certificate_);
    dial_.extra_roots_pem = certificate_.pem();
  }
  void TearDown() override {
    server_->stop();
    context_.poll();
  }
  void serve(const TestCertificate& certificate) {
    proxy_.emplace(context_, TlsFront::Kind::Proxy, certificate, server_->endpoints().front());
    through("");
  }
  void through(const std::string& login) {
    dial_.proxy.https_proxy = "https://" + login + "127.0.0.1:" + std::to_string(proxy_->port());
  }
  DialTarget target() const {
    DialTarget target;
    target.host = "relay.test";
    target.pin = server_->pin();
    return target;
  }
  std::expected<DialedStream, DialError> go(DialTarget target) {
    return run(context_, dial(std::move(target), dial_));
  }
  asio::io_context context_;
  SystemRng rng_;
  TestCertificate certificate_{for_loopback()};
  std::optional<DerpServer> server_;
  std::optional<TlsFront> proxy_;
  DialOptions dial_;
};

TEST_F(HttpsProxy, CarriesALoginWithFastStartAndPackets) {
  proxy_->wanted_login = "Basic dXNlcjpwQHNz";
  through("user:p%40ss@");
  session::RelayRef relay;
  relay.host = "relay.test";
  relay.port = 8443;
  relay.pin = server_->pin();
  relay.addresses = {*IpAddress::parse("192.0.2.1")};  // not asked: the proxy decides by name
  RecordingHandler handler;
  DerpClientOptions options;
  options.key = KeyPair::generate(rng_);
  options.dial = dial_;
  DerpClient client(context_.get_executor(), relay, options, rng_, handler);
  client.start();
  ASSERT_TRUE(run_until(context_, [&] { return client.is_up() || !handler.downs.empty(); }));
  ASSERT_TRUE(client.is_up()) << handler.downs.back();
  EXPECT_EQ(client.counters().fast_starts, 1u) << "the relay's meta certificate comes through the inner TLS";
  EXPECT_EQ(handler.server_key, server_->public_key());
  ASSERT_EQ(proxy_->connects().size(), 1u);
  EXPECT_TRUE(proxy_->connects()[0].starts_with("CONNECT relay.test:8443 HTTP/1.1\r\n"))
      << proxy_->connects()[0];
  Bytes packet(65'536);
  rng_.fill(packet);
  ASSERT_TRUE(client.send(options.key.pub, packet));  // relays deliver to oneself as well
  ASSERT_TRUE(run_until(context_, [&] { return !handler.packets.empty(); }));
  EXPECT_TRUE(handler.packets[0].second == packet);
  client.stop();
}

TEST_F(HttpsProxy, IsNotToldTheLoginWhenItsCertificateIsNotTrusted) {
  through("user:secret@");
  dial_.extra_roots_pem.clear();
  const auto dialed = go(target());
  ASSERT_FALSE(dialed);
  EXPECT_TRUE(dialed.error().certificate);
  EXPECT_NE(dialed.error().message.find("the proxy of HTTPS_PROXY: 127.0.0.1 was reached, but"),
            std::string::npos)
      << dialed.error().message;
  EXPECT_NE(dialed.error().message.find("not signed by an authority"), std::string::npos)
      << dialed.error().message;
  EXPECT_TRUE(proxy_->connects().empty());
}

TEST_F(HttpsProxy, MustBeTheProxyThatWasNamed) {
  CertificateWish wish;
  wish.subject_alt_name = "IP:127.0.0.2";
  const TestCertificate other(wish);
  serve(other);
  dial_.extra_roots_pem = other.pem();
  const auto dialed = go(target());
  ASSERT_FALSE(dialed);
  EXPECT_TRUE(dialed.error().certificate);
  EXPECT_NE(dialed.error().message.find("for another name"), std::string::npos) << dialed.error().message;
  EXPECT_TRUE(proxy_->connects().empty());
}

TEST_F(HttpsProxy, CannotPoseAsTheRelay) {
  DialTarget wrong = target();
  (*wrong.pin)[0] ^= std::byte{1};
  const auto dialed = go(wrong);
  ASSERT_FALSE(dialed);
  EXPECT_TRUE(dialed.error().certificate);
  EXPECT_NE(dialed.error().message.find("relay.test was reached, but"), std::string::npos)
      << dialed.error().message;
  EXPECT_EQ(proxy_->connects().size(), 1u);
}

TEST_F(HttpsProxy, AsksForALoginThatIsNeverShown) {
  proxy_->wanted_login = "Basic dXNlcjpwQHNz";
  auto dialed = go(target());
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("wants a login (407)"), std::string::npos) << dialed.error().message;
  through("user:secret@");
  dialed = go(target());
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("did not accept the user name"), std::string::npos);
  EXPECT_EQ(dialed.error().message.find("secret"), std::string::npos);
}

TEST_F(HttpsProxy, IsGivenUpWhenItNeverAnswers) {
  asio::ip::tcp::acceptor silent(context_, {asio::ip::address_v4::loopback(), 0});
  dial_.proxy.https_proxy = "https://127.0.0.1:" + std::to_string(silent.local_endpoint().port());
  dial_.timeout = 100ms;
  const auto dialed = go(target());
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("in time"), std::string::npos) << dialed.error().message;
}

}  // namespace
}  // namespace dh::io::testing
