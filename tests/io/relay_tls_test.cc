#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include "crypto/hash.hh"
#include "io/openssl.hh"
#include "io/relay_world.hh"

namespace dh::io {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;

class TlsTransport {
public:
  explicit TlsTransport(const Endpoint& to, const char* alpn = nullptr) : stream_(context_, tls_) {
    stream_.next_layer().connect({asio::ip::make_address(to.address.to_string()), to.port});
    if (alpn != nullptr)
      SSL_set_alpn_protos(stream_.native_handle(), reinterpret_cast<const unsigned char*>(alpn),
                          static_cast<unsigned>(std::strlen(alpn)));
    stream_.handshake(asio::ssl::stream_base::client);
  }
  void send(std::string_view text) { asio::write(stream_, asio::buffer(text)); }
  void send(ByteView bytes) { asio::write(stream_, asio::buffer(bytes.data(), bytes.size())); }
  std::string read_some() {
    char buffer[4096];
    boost::system::error_code error;
    const std::size_t size = stream_.read_some(asio::buffer(buffer), error);
    return {buffer, size};
  }
  SSL* ssl() { return stream_.native_handle(); }

private:
  asio::io_context context_;
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  asio::ssl::stream<tcp::socket> stream_;
};

TEST(RelayTls, CarriesPacketsOfEverySize) {
  RelayWorld world(tls_options());
  TlsTransport a_stream(world.endpoint()), b_stream(world.endpoint());
  for (TlsTransport* stream : {&a_stream, &b_stream}) {
    stream->send(kFastStartRequest);
  }
  DerpPeer<TlsTransport> a(a_stream, world.server().public_key()), b(b_stream, world.server().public_key());
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());
  for (const std::size_t size : {0u, 1u, 1400u, 16'384u, 65'536u}) {
    const Bytes packet(size, std::byte{9});
    ASSERT_TRUE(a.send(b.key(), packet));
    ASSERT_TRUE(b.wait<derp::PacketReceived>()) << size;
    EXPECT_EQ(b.payload, packet);
  }
}

TEST(RelayTls, ShowsThePinnedCertificateOverTls13WithoutTickets) {
  RelayWorld world(tls_options());
  TlsTransport stream(world.endpoint());
  X509Ptr leaf(SSL_get1_peer_certificate(stream.ssl()));
  ASSERT_TRUE(leaf);
  unsigned char* der = nullptr;
  const int size = i2d_X509(leaf.get(), &der);
  EXPECT_EQ(world.server().pin(),
            sha256({reinterpret_cast<std::byte*>(der), static_cast<std::size_t>(size)}));
  OPENSSL_free(der);
  EXPECT_EQ(SSL_version(stream.ssl()), TLS1_3_VERSION);
  stream.send("GET /derp/probe HTTP/1.1\r\nHost: r\r\n\r\n");
  EXPECT_TRUE(stream.read_some().starts_with("HTTP/1.1 200 "));
  EXPECT_FALSE(SSL_SESSION_has_ticket(SSL_get0_session(stream.ssl())));
}

TEST(RelayTls, AgreesOnHttp11Only) {
  RelayWorld world(tls_options());
  TlsTransport both(world.endpoint(), "\x02h2\x08http/1.1");
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(both.ssl(), &chosen, &size);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), size), "http/1.1");
  EXPECT_THROW(TlsTransport(world.endpoint(), "\x02h2"), boost::system::system_error);
  EXPECT_TRUE(world.eventually([&] { return world.server().shell_counters().tls_failures == 1; }));
}

TEST(RelayTls, CountsAndClosesWhoDoesNotSpeakTls) {
  RelayWorld world(tls_options());
  RawClient raw(world.endpoint());
  raw.send(kUpgradeRequest);
  raw.read_to_end();
  EXPECT_EQ(world.shell().tls_failures, 1u);
}

TEST(RelayTls, RefusesACertificateWithAnotherKey) {
  DerpServerOptions options = tls_options();
  options.tls->private_key_pem = tls_options().tls->private_key_pem;
  asio::io_context context;
  SystemRng rng;
  DerpServer server(context.get_executor(), options, rng);
  EXPECT_THROW(server.start(), std::runtime_error);
}

/// DERP in binary messages, through Beast's client.
class WebSocketTransport {
public:
  explicit WebSocketTransport(const Endpoint& to) : stream_(context_) {
    stream_.next_layer().connect({asio::ip::make_address(to.address.to_string()), to.port});
    stream_.set_option(websocket::stream_base::decorator(
        [](websocket::request_type& request) { request.set("Sec-WebSocket-Protocol", "derp"); }));
    stream_.handshake(response, "relay", "/derp");
    stream_.binary(true);
  }
  void send(ByteView bytes) { stream_.write(asio::buffer(bytes.data(), bytes.size())); }
  std::string read_some() {
    beast::flat_buffer buffer;
    stream_.read(buffer, error);
    largest = std::max(largest, buffer.size());
    return beast::buffers_to_string(buffer.data());
  }
  websocket::stream<tcp::socket>& stream() { return stream_; }
  websocket::response_type response;
  boost::system::error_code error;
  std::size_t largest = 0;

private:
  asio::io_context context_;
  websocket::stream<tcp::socket> stream_;
};

TEST(RelayWebSocket, CarriesDerpInBinaryMessagesOfAtMost32KiB) {
  RelayWorld world;
  WebSocketTransport a_stream(world.endpoint());
  EXPECT_EQ(a_stream.response["Sec-WebSocket-Protocol"], "derp");
  PlainTransport b_stream(world.endpoint());
  DerpPeer<WebSocketTransport> a(a_stream);
  DerpPeer<PlainTransport> b(b_stream);
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());
  const Bytes packet(65'536, std::byte{3});
  ASSERT_TRUE(a.send(b.key(), packet));
  ASSERT_TRUE(b.wait<derp::PacketReceived>());
  EXPECT_EQ(b.payload, packet);
  ASSERT_TRUE(b.send(a.key(), packet));
  ASSERT_TRUE(a.wait<derp::PacketReceived>());
  EXPECT_EQ(a.payload, packet);
  EXPECT_LE(a_stream.largest, 32u << 10);
  EXPECT_EQ(world.shell().websockets, 1u);
}

TEST(RelayWebSocket, ClosesWith1003AtATextMessage) {
  RelayWorld world;
  WebSocketTransport stream(world.endpoint());
  stream.read_some();  // ServerKey
  stream.stream().text(true);
  stream.send(as_bytes("text"));
  while (!stream.error) stream.read_some();
  EXPECT_EQ(stream.error, websocket::error::closed);
  EXPECT_EQ(stream.stream().reason().code, websocket::close_code::unknown_data);
  EXPECT_EQ(world.shell().websocket_errors, 1u);
}

TEST(RelayWebSocket, AnswersPingsAndTheClosingHandshake) {
  RelayWorld world;
  WebSocketTransport stream(world.endpoint());
  std::string pong;
  stream.stream().control_callback([&](websocket::frame_type kind, beast::string_view payload) {
    if (kind == websocket::frame_type::pong) pong = std::string(payload);
  });
  stream.stream().ping("are you there");
  DerpPeer<WebSocketTransport> peer(stream);
  ASSERT_TRUE(
      peer.login());  // ServerInfo comes behind the pong, and Beast shows a pong only on the way to a message
  stream.stream().close(websocket::close_code::normal);
  EXPECT_EQ(pong, "are you there");
  EXPECT_TRUE(world.eventually([&] { return world.server().shell_counters().current_tcp == 0; }));
}

}  // namespace
}  // namespace dh::io
