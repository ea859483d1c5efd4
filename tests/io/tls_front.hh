#pragma once

// What stands between a client and its relay in the real world: an HTTPS proxy, or a TLS terminator in front
// of a relay that speaks plain HTTP. Takes TLS on a loopback port and passes bytes on to `upstream`.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>

#include "base/address.hh"
#include "io/asio_address.hh"
#include "io/use_result.hh"
#include "test_certificate.hh"

namespace dh::io::testing {

class TlsFront {
public:
  enum class Kind : std::uint8_t {
    Terminator,  // every stream goes to `upstream`
    Proxy,       // after CONNECT, whatever host it names
  };
  TlsFront(asio::io_context& context, Kind kind, const TestCertificate& certificate, Endpoint upstream)
      : context_(context),
        kind_(kind),
        upstream_(to_asio(upstream.address), upstream.port),
        acceptor_(context, {asio::ip::address_v4::loopback(), 0}) {
    SSL_CTX_use_certificate(tls_.native_handle(), certificate.get());
    SSL_CTX_use_PrivateKey(tls_.native_handle(), certificate.key());
    accept_next();
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  const std::vector<std::string>& connects() const { return connects_; }
  int handshakes() const { return handshakes_; }

  /// Shows the key of the relay behind it, as a relay's own TLS would.
  void show_meta_certificate(const Bytes& der) {
    const unsigned char* at = as_uchar(ByteView(der));
    SSL_CTX_add_extra_chain_cert(tls_.native_handle(), d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  }
  /// A terminator that knows HTTP and hangs up on fast start, which is none.
  bool hangs_up_on_fast_start = false;

  /// A proxy that wants this after `Proxy-Authorization: `; without it, it answers 407.
  std::optional<std::string> wanted_login;

private:
  using tcp = asio::ip::tcp;
  struct Tunnel {
    Tunnel(tcp::socket socket, asio::ssl::context& tls, asio::io_context& context)
        : down(std::move(socket), tls), up(context) {}
    void close() {
      error_code ignored;
      down.lowest_layer().close(ignored);
      up.close(ignored);
    }
    asio::ssl::stream<tcp::socket> down;
    tcp::socket up;
  };

  void accept_next() {
    acceptor_.async_accept([this](const error_code& ec, tcp::socket socket) {
      if (ec) return;
      auto tunnel = std::make_shared<Tunnel>(std::move(socket), tls_, context_);
      asio::co_spawn(context_, serve(std::move(tunnel)), asio::detached);
      accept_next();
    });
  }

  asio::awaitable<void> serve(std::shared_ptr<Tunnel> tunnel) {
    const auto [refused] = co_await tunnel->down.async_handshake(asio::ssl::stream_base::server, use_result);
    if (refused) co_return;
    ++handshakes_;
    if (kind_ == Kind::Proxy) {
      std::string head;
      const auto [cut, size] =
          co_await asio::async_read_until(tunnel->down, asio::dynamic_buffer(head), "\r\n\r\n", use_result);
      if (cut) co_return;
      connects_.push_back(head.substr(0, size));
      const bool welcome = !wanted_login || head.find("\r\nProxy-Authorization: " + *wanted_login + "\r\n") !=
                                                std::string::npos;
      const std::string answer =
          welcome ? "HTTP/1.1 200 Connection established\r\n\r\n"
                  : "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
      co_await asio::async_write(tunnel->down, asio::buffer(answer), use_result);
      if (!welcome) co_return;
    }
    std::string begun;
    if (hangs_up_on_fast_start) {
      const auto [cut, size] =
          co_await asio::async_read_until(tunnel->down, asio::dynamic_buffer(begun), "\r\n\r\n", use_result);
      if (cut || begun.find("Derp-Fast-Start") != std::string::npos) co_return;
    }
    const auto [unreachable] = co_await tunnel->up.async_connect(upstream_, use_result);
    if (unreachable) co_return;
    co_await asio::async_write(tunnel->up, asio::buffer(begun), use_result);
    asio::co_spawn(context_, pass(tunnel, tunnel->up, tunnel->down), asio::detached);
    co_await pass(tunnel, tunnel->down, tunnel->up);
  }

  template <class From, class To>
  static asio::awaitable<void> pass(std::shared_ptr<Tunnel> tunnel, From& from, To& to) {
    std::vector<char> buffer(16u << 10);
    for (;;) {
      const auto [end, size] = co_await from.async_read_some(asio::buffer(buffer), use_result);
      if (end) break;
      const auto [cut, written] = co_await asio::async_write(to, asio::buffer(buffer, size), use_result);
      if (cut) break;
    }
    tunnel->close();
  }

  asio::io_context& context_;
  Kind kind_;
  tcp::endpoint upstream_;
  asio::ssl::context tls_{asio::ssl::context::tls_server};
  tcp::acceptor acceptor_;
  std::vector<std::string> connects_;  // heads of the requests that came
  int handshakes_ = 0;                 // that the client liked the certificate
};

}  // namespace dh::io::testing
