#pragma once

// A DERP relay for embedding: sockets, TLS, HTTP, WebSocket and STUN around derp::ServerCore.
// Spec: docs/protocol/relay-server.md.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "base/address.hh"
#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/keys.hh"
#include "derp/server_core.hh"
#include "io/tls_certificate.hh"

namespace dh::io {

namespace asio = boost::asio;

/// Bounds on what strangers can take. Every one is counted in ShellCounters when it bites.
struct DerpServerLimits {
  std::size_t connections = 16'384;           // all listeners together; an idle TLS client costs about 20 KiB
  std::size_t connections_per_address = 256;  // per IPv4 address or IPv6 /64; a carrier NAT shares one
                                              // address among 64 homes or fewer. 0: no limit
  Duration header_deadline = 10s;             // TLS handshake and one HTTP request head together; also the
                                              // longest idle time between requests
  std::size_t header_bytes = 16u << 10;       // one request head
  std::size_t requests_per_connection = 100;  // keep-alive on the simple routes
};

struct DerpServerOptions {
  std::vector<Endpoint> listen;     // port 0: the system chooses
  std::optional<TlsIdentity> tls;   // none: plain HTTP, allowed on loopback addresses only
  KeyPair key;                      // the DERP server key
  std::vector<Endpoint> stun;       // UDP; two with different address and port answer RFC 5780
  std::optional<Endpoint> metrics;  // plain HTTP, GET /metrics; choose loopback or a private address
  DerpServerLimits limits;
  derp::ServerConfig core;            // client rate (client_rate_bytes), mesh key, queue, deadlines
  std::size_t socket_send_bytes = 0;  // SO_SNDBUF of client sockets; 0: the system's automatic size
};

/// What the shell counts itself; the protocol's own are derp::ServerCounters.
struct ShellCounters {
  std::uint64_t tcp_accepted = 0;         // connections taken from the listeners
  std::uint64_t refused_total_cap = 0;    // closed at once: limits.connections reached
  std::uint64_t refused_address_cap = 0;  // closed at once: limits.connections_per_address reached
  std::uint64_t accept_pauses = 0;        // out of file descriptors or memory; accepting paused
  std::uint64_t header_timeouts = 0;      // no complete request head in time
  std::uint64_t bad_requests = 0;         // head malformed (400) or too long (431)
  std::uint64_t tls_failures = 0;         // handshake or record errors
  std::uint64_t http_requests = 0;        // complete heads, upgrades included
  std::uint64_t fast_starts = 0;          // upgrades that left the 101 out
  std::uint64_t websockets = 0;           // upgrades to RFC 6455
  std::uint64_t websocket_errors = 0;     // closed for breaking RFC 6455 or for a text message
  std::uint64_t write_errors = 0;         // the socket failed while writing
  std::uint64_t current_tcp = 0;          // open now, whatever they speak
  std::uint64_t stun_requests = 0;        // answered
  std::uint64_t stun_dropped = 0;         // not a request we answer, or a source we must not answer
};

/// The relay. A resource; everything, the destructor included, runs on the executor given (one thread or a
/// strand); it owns no thread.
class DerpServer {
public:
  /// `rng` makes nonces (secrets) and must outlive the object.
  DerpServer(asio::any_io_executor executor, DerpServerOptions options, Rng& rng);
  ~DerpServer();
  DerpServer(const DerpServer&) = delete;
  DerpServer& operator=(const DerpServer&) = delete;

  /// Binds everything, then serves.
  /// Errors: throws std::runtime_error with one sentence for the user (port taken, no such address, plain
  /// HTTP beyond loopback, unusable certificate); nothing stays bound then.
  void start();
  /// Announces Restarting to every client, stops accepting, writes out what is queued, closes. Returns when
  /// the last connection is gone, after `deadline` at the latest; the server is stopped then.
  asio::awaitable<void> drain(Duration reconnect_in, Duration try_for, Duration deadline = 3s);
  /// Closes everything at once. Safe to repeat.
  void stop();

  /// In the order of the options, with the ports the system chose. Valid after start().
  const std::vector<Endpoint>& endpoints() const;
  const std::vector<Endpoint>& stun_endpoints() const;
  std::optional<Endpoint> metrics_endpoint() const;
  /// SHA-256 over the leaf certificate's DER: what `?pin=sha256-raw:` holds. Empty without TLS.
  std::optional<ByteArray<32>> pin() const;
  const PublicKey& public_key() const;

  const derp::ServerCounters& counters() const;
  const ShellCounters& shell_counters() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its own coroutines, which outlive a stop() by one turn
};

}  // namespace dh::io
