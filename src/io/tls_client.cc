#include "io/tls_client.hh"

#include <boost/asio/ssl.hpp>
#include <openssl/err.h>

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/peer_certificate.hh"
#include "io/stream_bridge.hh"
#include "io/stream_deadline.hh"
#include "io/tcp_stream.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

namespace ssl = asio::ssl;

template <typename Lower>
class TlsStream final : public ByteStream {
public:
  TlsStream(Lower lower, ssl::context& context, Endpoint local, Endpoint remote)
      : stream_(std::move(lower), context), local_(local), remote_(remote) {}

  asio::awaitable<error_code> handshake() {
    auto [ec] = co_await stream_.async_handshake(ssl::stream_base::client, use_result);
    co_return ec;
  }

  asio::awaitable<std::pair<error_code, std::size_t>> read_some(ByteSpan into) override {
    auto [ec, size] = co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), use_result);
    // DERP frames carry their lengths: a cut is noticed there, so a missing close_notify is an ordinary end.
    if (ec == ssl::error::stream_truncated) ec = asio::error::eof;
    co_return std::pair(ec, size);
  }

  asio::awaitable<error_code> write(ByteView bytes) override {
    auto [ec, size] =
        co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), use_result);
    co_return ec;
  }

  void close() override {
    if constexpr (std::is_same_v<Lower, StreamBridge>) {
      stream_.next_layer().stream().close();
    } else {
      error_code ignored;
      stream_.lowest_layer().close(ignored);
    }
  }
  Endpoint local_endpoint() const override { return local_; }
  Endpoint remote_endpoint() const override { return remote_; }
  SSL* native() { return stream_.native_handle(); }

private:
  ssl::stream<Lower> stream_;
  Endpoint local_, remote_;
};

bool verifies_path(const TlsPeer& peer) {
  return !peer.pin && !peer.insecure_for_tests;
}

// Errors: a sentence about this machine's trust store.
std::expected<void, DialError> set_up_context(ssl::context& context, const TlsPeer& peer) {
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context.native_handle(), SSL_SESS_CACHE_OFF);
  error_code ec;
  if (!verifies_path(peer)) {
    context.set_verify_mode(ssl::verify_none, ec);
    return {};
  }
  context.set_verify_mode(ssl::verify_peer, ec);
  context.set_default_verify_paths(ec);
  if (!peer.extra_roots_pem.empty()) {
    context.add_certificate_authority(asio::buffer(peer.extra_roots_pem), ec);
    if (ec)
      return std::unexpected(DialError{"the extra certificate authorities cannot be read as PEM", false});
  }
  return {};
}

// Errors: `host` is no name OpenSSL takes.
bool set_up_connection(SSL* tls, const TlsPeer& peer) {
  const bool literal = IpAddress::parse(peer.host).has_value();
  if (!literal && SSL_set_tlsext_host_name(tls, peer.host.c_str()) != 1) return false;
  if (!verifies_path(peer)) return true;
  const std::string& name = peer.cert_name.empty() ? peer.host : peer.cert_name;
  X509_VERIFY_PARAM* rules = SSL_get0_param(tls);
  if (IpAddress::parse(name)) return X509_VERIFY_PARAM_set1_ip_asc(rules, name.c_str()) == 1;
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_host(rules, name.c_str(), name.size()) == 1;
}

DialError handshake_error(const std::string& who, const TlsPeer& peer, const SSL* tls, const error_code& ec) {
  if (verifies_path(peer))
    if (auto why = verification_failure(tls)) return {who + " was reached, but " + *why, true};
  const int reason = ec.category() == asio::error::get_ssl_category()
                         ? ERR_GET_REASON(static_cast<unsigned long>(ec.value()))
                         : 0;
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNKNOWN_PROTOCOL ||
      reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_HTTP_REQUEST)
    return {who + " does not answer in TLS: wrong port, or a login page or filter of this network in between",
            false};
  if (ec == asio::error::eof || ec == ssl::error::stream_truncated || ec == asio::error::connection_reset)
    return {who + " closed the connection during the TLS handshake: something on the way may not allow it",
            false};
  return {who + " failed the TLS handshake: " + ec.message(), false};
}

template <typename Lower>
asio::awaitable<std::expected<DialedStream, DialError>> shake_hands(std::unique_ptr<TlsStream<Lower>> stream,
                                                                    TlsPeer peer, Instant deadline) {
  const std::string who = printable(peer.host);
  DialError error;
  if (!set_up_connection(stream->native(), peer)) {
    error.message = who + " is not a name a certificate can be checked for";
    co_return std::unexpected(std::move(error));
  }
  const auto executor = co_await asio::this_coro::executor;
  {
    const StreamDeadline patience(executor, deadline, [raw = stream.get()] { raw->close(); });
    const error_code ec = co_await stream->handshake();
    if (patience.expired()) {
      error.message = who + " was reached, but the TLS handshake did not finish in time";
      co_return std::unexpected(std::move(error));
    }
    if (ec) {
      error = handshake_error(who, peer, stream->native(), ec);
      co_return std::unexpected(std::move(error));
    }
  }
  if (peer.pin && !peer.insecure_for_tests) {
    const std::string sni = IpAddress::parse(peer.host) ? std::string() : peer.host;
    if (auto ok = check_pin(stream->native(), *peer.pin, sni, wall_now()); !ok) {
      error.message = who + " was reached, but " + ok.error();
      error.certificate = true;
      co_return std::unexpected(std::move(error));
    }
  }
  DialedStream dialed;
  dialed.tls13 = SSL_version(stream->native()) >= TLS1_3_VERSION;
  dialed.meta_key = find_meta_key(stream->native());
  dialed.stream = std::move(stream);
  co_return dialed;
}

}  // namespace

asio::awaitable<std::expected<DialedStream, DialError>> start_tls(std::unique_ptr<ByteStream> lower,
                                                                  TlsPeer peer, Instant deadline) {
  ssl::context context(ssl::context::tls_client);  // the connection holds its own reference
  if (auto ready = set_up_context(context, peer); !ready) co_return std::unexpected(std::move(ready.error()));
  const Endpoint local = lower->local_endpoint();
  const Endpoint remote = lower->remote_endpoint();
  if (auto* tcp = dynamic_cast<TcpStream*>(lower.get())) {
    auto stream = std::make_unique<TlsStream<asio::ip::tcp::socket>>(tcp->release(), context, local, remote);
    auto result = co_await shake_hands(std::move(stream), std::move(peer), deadline);
    co_return result;
  }
  const auto executor = co_await asio::this_coro::executor;
  StreamBridge bridge(executor, std::shared_ptr<ByteStream>(std::move(lower)));
  auto stream = std::make_unique<TlsStream<StreamBridge>>(std::move(bridge), context, local, remote);
  auto result = co_await shake_hands(std::move(stream), std::move(peer), deadline);
  co_return result;
}

}  // namespace dh::io
