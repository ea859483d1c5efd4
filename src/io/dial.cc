#include "io/dial.hh"

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/connect_race.hh"
#include "io/proxy.hh"
#include "io/resolve.hh"
#include "io/stream_deadline.hh"
#include "io/tcp_stream.hh"
#include "io/tls_client.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

using StreamResult = std::expected<std::unique_ptr<ByteStream>, DialError>;

// A connection to `host`, which is called `who` in errors. Empty `addresses`: ask DNS.
asio::awaitable<StreamResult> connect(std::string host, std::uint16_t port, std::vector<IpAddress> addresses,
                                      Lookup lookup, bool prefer_ipv6, std::string who, Instant deadline) {
  DialError error;
  if (addresses.empty()) {
    if (const auto literal = IpAddress::parse(host)) {
      addresses.push_back(*literal);
    } else {
      auto found = co_await resolve(host, std::move(lookup), deadline);
      if (!found) {
        error.message = "cannot look up " + who + ": " + found.error() +
                        "; check the name and this machine's network and DNS";
        co_return std::unexpected(std::move(error));
      }
      addresses = std::move(*found);
    }
  }
  RaceOptions race;
  race.prefer_ipv6 = prefer_ipv6;
  auto socket = co_await connect_race(std::move(addresses), port, race, deadline);
  if (!socket) {
    error.message = "cannot connect to " + who + " (" + socket.error() +
                    "); check that it runs and that this network lets TCP to port " + std::to_string(port) +
                    " through, or set HTTPS_PROXY";
    co_return std::unexpected(std::move(error));
  }
  std::unique_ptr<ByteStream> stream = std::make_unique<TcpStream>(std::move(*socket));
  co_return std::move(stream);
}

// A tunnel to the target through the proxy: the names go into CONNECT, the proxy resolves them.
asio::awaitable<StreamResult> connect_through(ProxyUrl proxy, std::string host, std::uint16_t port,
                                              DialOptions options, Instant deadline) {
  std::string who = "the proxy " + printable(proxy.where()) + " of HTTPS_PROXY";
  std::vector<IpAddress> no_addresses;
  auto stream = co_await connect(proxy.host, proxy.port, std::move(no_addresses), std::move(options.lookup),
                                 options.prefer_ipv6, who, deadline);
  if (!stream) co_return stream;
  if (proxy.tls) {
    TlsPeer peer;
    peer.host = proxy.host;
    peer.extra_roots_pem = std::move(options.extra_roots_pem);
    auto secure = co_await start_tls(std::move(*stream), std::move(peer), deadline);
    if (!secure) {
      secure.error().message = "the proxy of HTTPS_PROXY: " + secure.error().message;
      co_return std::unexpected(std::move(secure.error()));
    }
    *stream = std::move(secure->stream);
  }
  const auto executor = co_await asio::this_coro::executor;
  const StreamDeadline patience(executor, deadline, [raw = stream->get()] { raw->close(); });
  auto opened = co_await open_tunnel(**stream, proxy, host, port);
  if (patience.expired()) {
    DialError error;
    error.message = who + " did not open a tunnel to " + printable(host_and_port(host, port)) + " in time";
    co_return std::unexpected(std::move(error));
  }
  if (!opened) co_return std::unexpected(std::move(opened.error()));
  co_return stream;
}

}  // namespace

asio::awaitable<std::expected<DialedStream, DialError>> dial(DialTarget target, DialOptions options) {
  const Instant deadline = now() + options.timeout;
  StreamResult stream;
  if (!options.proxy.https_proxy.empty() &&
      !bypasses_proxy(target.host, target.port, options.proxy.no_proxy)) {
    auto proxy = parse_proxy_url(options.proxy.https_proxy);
    if (!proxy) {
      DialError error;
      error.message = proxy.error();
      co_return std::unexpected(std::move(error));
    }
    stream = co_await connect_through(std::move(*proxy), target.host, target.port, options, deadline);
  } else {
    std::string who = printable(host_and_port(target.host, target.port));
    stream = co_await connect(target.host, target.port, std::move(target.addresses), options.lookup,
                              options.prefer_ipv6, std::move(who), deadline);
  }
  if (!stream) co_return std::unexpected(std::move(stream.error()));

  if (!target.tls) {
    DialedStream plain;
    plain.stream = std::move(*stream);
    co_return plain;
  }
  TlsPeer peer;
  peer.host = std::move(target.host);
  peer.cert_name = std::move(target.cert_name);
  peer.pin = target.pin;
  peer.insecure_for_tests = target.insecure_for_tests;
  peer.extra_roots_pem = std::move(options.extra_roots_pem);
  auto dialed = co_await start_tls(std::move(*stream), std::move(peer), deadline);
  co_return dialed;
}

}  // namespace dh::io
