#include "io/dial.hh"

#include <boost/asio/ssl.hpp>
#include <gtest/gtest.h>

#include "io/use_result.hh"
#include "loopback.hh"
#include "test_certificate.hh"

namespace dh::io::testing {
namespace {

using asio::ip::tcp;
using DialResult = std::expected<DialedStream, DialError>;

// The vector of docs/protocol/derp.md: a derper's meta certificate and the key it names.
constexpr const char* kMetaKey = "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254";
constexpr const char* kMetaCertificate =
    "3082016330820115a003020102020102300506032b657030523150304e06035504031347646572706b6579333538303732643633"
    "36"
    "35383830643161656561333239616466393132313338333835316564323161323865336237356539363564306432636431363632"
    "35"
    "34301e170d3236303130313030303030305a170d3236303330323030303030305a30523150304e06035504031347646572706b65"
    "79"
    "33353830373264363336353838306431616565613332396164663931323133383338353165643231613238653362373565393635"
    "64"
    "30643263643136363235343"
    "02a300506032b657003210003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a310300e300c06035"
    "51d"
    "130101ff04023000300506032b657003410044d273e5631bbab77922f00bf25e1d798f5ac0a3f073e5ca536b4fcfa165f5846808"
    "bb"
    "72c00437132ee51ed6d124ac907a7f660044c41dfbef4d3a632810ce0f";

// A listener on one loopback address that runs `script` on its first connection.
class Listener {
public:
  using Script = asio::awaitable<void> (*)(tcp::socket, void*);

  explicit Listener(asio::io_context& context, const char* address = "127.0.0.1", std::uint16_t port = 0)
      : acceptor_(context, {asio::ip::make_address(address), port}) {}
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void serve(Script script, void* argument = nullptr) {
    acceptor_.async_accept([this, script, argument](const error_code& ec, tcp::socket socket) {
      if (ec) return;
      asio::co_spawn(acceptor_.get_executor(), script(std::move(socket), argument), asio::detached);
    });
  }

private:
  tcp::acceptor acceptor_;
};

DialTarget plain_target(std::uint16_t port, const std::string& host = "127.0.0.1") {
  DialTarget target;
  target.host = host;
  target.port = port;
  target.tls = false;
  return target;
}

class Dial : public ::testing::Test {
protected:
  DialResult go(DialTarget target) { return run(context_, dial(std::move(target), options_)); }
  asio::io_context context_;
  DialOptions options_;
};

TEST_F(Dial, TakesTheFamilyThatAnswers) {
  Listener v4(context_);
  auto target = plain_target(v4.port(), "relay.test");
  target.addresses = {*IpAddress::parse("::1"), *IpAddress::parse("127.0.0.1")};
  for (const bool prefer_ipv6 : {false, true}) {
    options_.prefer_ipv6 = prefer_ipv6;
    const auto dialed = go(target);
    ASSERT_TRUE(dialed) << dialed.error().message;
    EXPECT_EQ(dialed->stream->remote_endpoint().to_string(), "127.0.0.1:" + std::to_string(v4.port()));
    EXPECT_FALSE(dialed->meta_key);
  }
}

TEST_F(Dial, GoesOnToTheNextAddressOfAFamily) {
  Listener second(context_, "127.0.0.2");
  auto target = plain_target(second.port(), "relay.test");
  target.addresses = {*IpAddress::parse("127.0.0.1"), *IpAddress::parse("127.0.0.2")};
  const auto dialed = go(target);
  ASSERT_TRUE(dialed) << dialed.error().message;
  EXPECT_EQ(dialed->stream->remote_endpoint().address.to_string(), "127.0.0.2");
}

TEST_F(Dial, TellsWhatHappenedToEveryAddress) {
  const std::uint16_t port = closed_port();
  auto target = plain_target(port, "relay.test");
  target.addresses = {*IpAddress::parse("127.0.0.1"), *IpAddress::parse("127.0.0.2")};
  const auto dialed = go(target);
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("cannot connect to relay.test:" + std::to_string(port)),
            std::string::npos)
      << dialed.error().message;
  EXPECT_NE(dialed.error().message.find("127.0.0.1: Connection refused"), std::string::npos);
  EXPECT_NE(dialed.error().message.find("127.0.0.2: Connection refused"), std::string::npos);
}

TEST_F(Dial, ResolvesLocalhost) {
  Listener v4(context_);
  const auto dialed = go(plain_target(v4.port(), "localhost"));
  ASSERT_TRUE(dialed) << dialed.error().message;
}

TEST_F(Dial, GivesUpOnASilentTlsServerInTime) {
  Listener silent(context_);
  options_.timeout = 50ms;
  auto target = plain_target(silent.port());
  target.tls = true;
  const auto dialed = go(target);
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("in time"), std::string::npos) << dialed.error().message;
  EXPECT_FALSE(dialed.error().certificate);
}

// Proxies. `argument` points at what the proxy answers; after a 2xx it echoes.
asio::awaitable<void> answer_connect(tcp::socket socket, void* argument) {
  const std::string answer = *static_cast<std::string*>(argument);
  std::string& request = *static_cast<std::string*>(argument);
  std::string read;
  auto [ec, size] =
      co_await asio::async_read_until(socket, asio::dynamic_buffer(read), "\r\n\r\n", use_result);
  request = read.substr(0, size);
  co_await asio::async_write(socket, asio::buffer(answer), use_result);
  if (!answer.starts_with("HTTP/1.1 200")) co_return;
  char buffer[256];
  while (true) {
    auto [error, count] = co_await socket.async_read_some(asio::buffer(buffer), use_result);
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(buffer, count), use_result);
  }
}

class DialThroughProxy : public Dial {
protected:
  DialResult through(std::string answer, const std::string& login = {}) {
    talk_ = std::move(answer);
    proxy_.serve(answer_connect, &talk_);
    options_.proxy.https_proxy = "http://" + login + "127.0.0.1:" + std::to_string(proxy_.port());
    return go(plain_target(444, "relay.test"));
  }
  std::string talk_;  // the answer to give; then the request that came
  Listener proxy_{context_};
};

asio::awaitable<std::string> echo(ByteStream& stream) {
  Bytes buffer(16);
  if (co_await stream.write(as_bytes("hello"))) co_return "write failed";
  auto [ec, size] = co_await stream.read_some(buffer);
  co_return std::string(as_text(ByteView(buffer).first(size)));
}

TEST_F(DialThroughProxy, NamesTheHostAndLogsIn) {
  auto dialed = through("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", "user:p%40ss@");
  ASSERT_TRUE(dialed) << dialed.error().message;
  EXPECT_TRUE(talk_.starts_with("CONNECT relay.test:444 HTTP/1.1\r\nHost: relay.test:444\r\n")) << talk_;
  EXPECT_NE(talk_.find("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"), std::string::npos) << talk_;
  EXPECT_EQ(run(context_, echo(*dialed->stream)), "hello");
}

TEST_F(DialThroughProxy, AsksForALoginIn407) {
  const auto dialed = through("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("wants a login (407)"), std::string::npos) << dialed.error().message;
}

TEST_F(DialThroughProxy, SaysThatTheLoginWasRefusedWithoutShowingIt) {
  const auto dialed = through("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "user:secret@");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("did not accept the user name"), std::string::npos);
  EXPECT_EQ(dialed.error().message.find("secret"), std::string::npos);
}

TEST_F(DialThroughProxy, QuotesTheWordsOfARefusingPage) {
  const auto dialed =
      through("HTTP/1.1 403 Forbidden\r\n\r\n<html><h1>Blocked by policy</h1><p>\x1b[31mcall IT");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("403 Forbidden (Blocked by policy \\x1b[31mcall IT)"),
            std::string::npos)
      << dialed.error().message;
}

TEST_F(DialThroughProxy, TakesAPageBehind200ForWhatItIs) {
  const auto dialed = through("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in</html>");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("a page instead of"), std::string::npos) << dialed.error().message;
}

TEST_F(DialThroughProxy, NoticesAProxyThatDiesMidway) {
  const auto dialed = through("HTTP/1.1 2");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("without an answer"), std::string::npos) << dialed.error().message;
}

TEST_F(DialThroughProxy, NoticesWhatIsNoProxy) {
  const auto dialed = through("SSH-2.0-OpenSSH_9.2\r\n");
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("did not answer in HTTP"), std::string::npos)
      << dialed.error().message;
}

// TLS.
struct TlsServer {
  asio::ssl::context context{asio::ssl::context::tls_server};
  void use(const TestCertificate& certificate) {
    SSL_CTX_use_certificate(context.native_handle(), certificate.get());
    SSL_CTX_use_PrivateKey(context.native_handle(), certificate.key());
  }
  void add(X509* extra) {
    X509_up_ref(extra);
    SSL_CTX_add_extra_chain_cert(context.native_handle(), extra);
  }
  void add_meta() {
    const Bytes der = *from_hex(kMetaCertificate);
    const auto* at = as_uchar(ByteView(der));
    X509* meta = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
    ASSERT_NE(meta, nullptr);
    add(meta);
    X509_free(meta);
  }
};

asio::awaitable<void> serve_tls(tcp::socket socket, void* argument) {
  auto& server = *static_cast<TlsServer*>(argument);
  asio::ssl::stream<tcp::socket> stream(std::move(socket), server.context);
  auto [ec] = co_await stream.async_handshake(asio::ssl::stream_base::server, use_result);
  char buffer[256];
  while (!ec) {
    auto [error, count] = co_await stream.async_read_some(asio::buffer(buffer), use_result);
    if (error) co_return;
    co_await asio::async_write(stream, asio::buffer(buffer, count), use_result);
  }
}

class DialTls : public Dial {
protected:
  DialResult reach(DialTarget target) {
    listener_.serve(serve_tls, &server_);
    target.port = listener_.port();
    return go(std::move(target));
  }
  static DialTarget named(std::optional<ByteArray<32>> pin = {}) {
    DialTarget target;
    target.host = "relay.test";
    target.addresses = {*IpAddress::parse("127.0.0.1")};
    target.pin = pin;
    return target;
  }
  void expect_refused(const DialResult& dialed, const std::string& words) {
    ASSERT_FALSE(dialed);
    EXPECT_TRUE(dialed.error().certificate);
    EXPECT_NE(dialed.error().message.find(words), std::string::npos) << dialed.error().message;
  }
  TestCertificate leaf_;
  TlsServer server_;
  Listener listener_{context_};
};

TEST_F(DialTls, AcceptsThePinnedCertificateAndFindsTheMetaKeyBesideIt) {
  server_.use(leaf_);
  server_.add_meta();
  auto dialed = reach(named(leaf_.pin()));
  ASSERT_TRUE(dialed) << dialed.error().message;
  EXPECT_TRUE(dialed->tls13);
  ASSERT_TRUE(dialed->meta_key);
  EXPECT_EQ(dialed->meta_key->to_hex(), kMetaKey);
  EXPECT_EQ(run(context_, echo(*dialed->stream)), "hello");
}

TEST_F(DialTls, IgnoresTheMetaCertificateUnderTls12) {
  server_.use(leaf_);
  server_.add_meta();
  SSL_CTX_set_max_proto_version(server_.context.native_handle(), TLS1_2_VERSION);
  const auto dialed = reach(named(leaf_.pin()));
  ASSERT_TRUE(dialed) << dialed.error().message;
  EXPECT_FALSE(dialed->tls13);
  EXPECT_FALSE(dialed->meta_key);
}

TEST_F(DialTls, RefusesTls11) {
  server_.use(leaf_);
  SSL_CTX_set_min_proto_version(server_.context.native_handle(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(server_.context.native_handle(), TLS1_1_VERSION);
  SSL_CTX_set_security_level(server_.context.native_handle(), 0);
  EXPECT_FALSE(reach(named(leaf_.pin())));
}

TEST_F(DialTls, RefusesAnotherCertificateThanThePinned) {
  server_.use(leaf_);
  auto pin = leaf_.pin();
  pin[31] ^= std::byte{1};
  expect_refused(reach(named(pin)), "not the pinned one");
}

TEST_F(DialTls, RefusesAChainUnderAPin) {
  const TestCertificate other;
  server_.use(leaf_);
  server_.add(other.get());
  expect_refused(reach(named(leaf_.pin())), "more than one certificate");
}

TEST_F(DialTls, RefusesPinnedCertificatesOutsideTheirDates) {
  CertificateWish old;
  old.begins_in_seconds = -7200;
  old.ends_in_seconds = -60;
  const TestCertificate expired(old);
  server_.use(expired);
  expect_refused(reach(named(expired.pin())), "has expired");
}

TEST_F(DialTls, RefusesAPinnedCertificateForAnotherNameButNotForAnAddress) {
  CertificateWish wish;
  wish.subject_alt_name = "DNS:other.test";
  const TestCertificate other(wish);
  server_.use(other);
  expect_refused(reach(named(other.pin())), "for another name");
  auto by_address = named(other.pin());
  by_address.host = "127.0.0.1";
  const auto dialed = reach(by_address);
  EXPECT_TRUE(dialed) << dialed.error().message;
}

TEST_F(DialTls, VerifiesAgainstTrustedAuthoritiesByName) {
  server_.use(leaf_);
  expect_refused(reach(named()), "not signed by an authority");
  options_.extra_roots_pem = leaf_.pem();
  auto dialed = reach(named());
  EXPECT_TRUE(dialed) << dialed.error().message;
  auto elsewhere = named();
  elsewhere.host = "front.test";
  expect_refused(reach(elsewhere), "for another name");
  elsewhere.cert_name = "relay.test";
  dialed = reach(elsewhere);
  EXPECT_TRUE(dialed) << dialed.error().message;
}

TEST_F(DialTls, ChecksTheAddressInTheCertificateOfAnIpLiteral) {
  CertificateWish wish;
  wish.name = "127.0.0.1";
  wish.subject_alt_name = "IP:127.0.0.1";
  const TestCertificate literal(wish);
  server_.use(literal);
  options_.extra_roots_pem = literal.pem() + leaf_.pem();
  auto target = named();
  target.host = "127.0.0.1";
  const auto dialed = reach(target);
  EXPECT_TRUE(dialed) << dialed.error().message;
  TlsServer by_name;
  by_name.use(leaf_);
  listener_.serve(serve_tls, &by_name);
  target.port = listener_.port();
  expect_refused(go(target), "for another name");
}

TEST_F(DialTls, RefusesExpiredVerifiedCertificates) {
  CertificateWish old;
  old.begins_in_seconds = -7200;
  old.ends_in_seconds = -60;
  const TestCertificate expired(old);
  server_.use(expired);
  options_.extra_roots_pem = expired.pem();
  expect_refused(reach(named()), "has expired");
}

asio::awaitable<void> answer_in_http(tcp::socket socket, void*) {
  const std::string page = "HTTP/1.1 400 Bad Request\r\n\r\n";
  co_await asio::async_write(socket, asio::buffer(page), use_result);
}

TEST_F(DialTls, NamesAServerThatDoesNotSpeakTls) {
  listener_.serve(answer_in_http);
  auto target = named();
  target.port = listener_.port();
  const auto dialed = go(target);
  ASSERT_FALSE(dialed);
  EXPECT_NE(dialed.error().message.find("does not answer in TLS"), std::string::npos)
      << dialed.error().message;
}

}  // namespace
}  // namespace dh::io::testing
