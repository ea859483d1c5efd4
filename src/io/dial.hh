#pragma once

// From a relay's name to an open byte stream: DNS, IPv4/IPv6 racing, HTTP proxy, TLS with verification or
// pin. Spec: docs/protocol/derp-dialing.md.

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "base/time.hh"
#include "crypto/keys.hh"
#include "io/resolve.hh"

namespace dh::io {

namespace asio = boost::asio;

/// An ordered byte stream: plain TCP, TLS, or WebSocket binary messages. A resource; used from one strand.
class ByteStream {
public:
  virtual ~ByteStream() = default;
  /// Reads at least one byte. Returns {error, size}; error::eof at a clean end.
  virtual asio::awaitable<std::pair<boost::system::error_code, std::size_t>> read_some(ByteSpan into) = 0;
  /// Writes all of `bytes`. The caller keeps them alive.
  virtual asio::awaitable<boost::system::error_code> write(ByteView bytes) = 0;
  /// Closes at once; pending reads and writes end with an error. Safe to repeat.
  virtual void close() = 0;
  virtual Endpoint local_endpoint() const = 0;
  virtual Endpoint remote_endpoint() const = 0;
};

struct DialTarget {
  std::string host;  // DNS name or IP literal; SNI and Host header
  std::uint16_t port = 443;
  bool tls = true;
  std::vector<IpAddress> addresses;  // dial these instead of resolving
  std::optional<ByteArray<32>> pin;  // sha256-raw: exactly one non-meta certificate with this digest
  std::string cert_name;             // verify for this name instead of host (DERP map CertName)
  bool insecure_for_tests = false;   // no verification (DERP map InsecureForTests)
};

/// The proxy of the environment: HTTPS_PROXY and NO_PROXY, or lower case. Relays are https, so HTTP_PROXY is
/// not asked. Used for every target but loopback ones.
struct ProxyConfig {
  std::string https_proxy;  // http[s]://[user:password@]host[:port]; empty: none
  std::string no_proxy;     // comma-separated hosts, .suffixes, CIDRs, or *
  static ProxyConfig from_environment();
};

struct DialOptions {
  ProxyConfig proxy;
  Duration timeout = 10s;  // DNS + TCP + TLS together
  bool prefer_ipv6 = false;
  std::string extra_roots_pem;  // certificate authorities trusted beside the system's
  Lookup lookup;                // names to addresses; empty: the system's
};

struct DialedStream {
  std::unique_ptr<ByteStream> stream;
  std::optional<PublicKey> meta_key;  // DERP server key from the meta certificate (TLS 1.3 only)
  bool tls13 = false;
};

/// One sentence for a person: what was tried and what happened.
struct DialError {
  std::string message;
  bool certificate = false;  // reached, but its certificate is not acceptable
};

asio::awaitable<std::expected<DialedStream, DialError>> dial(DialTarget target, DialOptions options);

}  // namespace dh::io
