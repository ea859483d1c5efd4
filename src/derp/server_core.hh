#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "base/address.hh"
#include "base/time.hh"
#include "crypto/keys.hh"

namespace dh::derp {

using ConnectionId = std::uint64_t;  // chosen by the shell, never reused

/// Why the server closes a connection.
enum class CloseReason : std::uint8_t {
  LoginTimeout,
  BadLogin,
  ProtocolError,
  FrameTooLong,
  WriteTimeout,
  NotAuthorised,
  ShuttingDown,
  ClosedByMesh,  // a mesh peer asked for it (frame 0x11)
};
std::string_view to_string(CloseReason reason);

struct ServerConfig {
  std::optional<Secret<32>> mesh_key;  // unset: nobody is privileged
  Duration login_deadline = 10s;
  Duration write_deadline = 2s;          // 30 s for mesh connections
  std::size_t queue_packets = 32;        // per client and kind (data, disco); drop-oldest
  std::uint64_t client_rate_bytes = 0;   // per second, 0 = off; reading pauses, nothing is dropped
  std::uint64_t client_burst_bytes = 0;  // raised to one largest frame
};

struct CloseConnection {
  ConnectionId id;
  CloseReason reason;
};
/// Stop (true) or resume (false) reading from the connection: the receive limiter's back-pressure.
struct PauseReading {
  ConnectionId id;
  bool paused;
};
using ServerEvent = std::variant<CloseConnection, PauseReading>;

/// Every counter /metrics shows; names after derper's.
struct ServerCounters {
  std::uint64_t accepts = 0, logins = 0, current_connections = 0;
  std::uint64_t packets_received = 0, packets_sent = 0, bytes_received = 0, bytes_sent = 0;
  std::uint64_t disco_received = 0;
  std::uint64_t dropped_unknown_dest = 0, dropped_queue_head = 0, dropped_gone = 0, dropped_dup_client = 0;
  std::uint64_t pings = 0, pongs = 0, peer_gone_disconnected = 0, peer_gone_not_here = 0;
  std::uint64_t duplicate_keys = 0;
  std::uint64_t forwarded_in = 0, write_timeouts = 0, unknown_frames = 0, rate_pauses = 0;
};

/// A DERP server without sockets. One object serves all connections; not thread-safe.
/// Contract: after every input drain poll_event() and poll_ready(); for each ready connection take_output()
/// and write it, then on_written(); sleep until next_timeout(). Spec: docs/protocol/derp.md.
class ServerCore {
public:
  ServerCore(const ServerConfig& config, const KeyPair& key, Instant now, Rng& rng);
  ~ServerCore();
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;

  // Inputs.
  /// The HTTP upgrade (or its omission in fast start) is done; frames follow. ServerKey is queued at once.
  void on_connect(ConnectionId id, const Endpoint& peer, Instant now);
  void on_bytes(ConnectionId id, ByteView stream_bytes, Instant now);
  /// Part of the batch taken last reached the socket: renews the write deadline.
  void on_write_progress(ConnectionId id, Instant now);
  /// The batch taken last is written whole.
  void on_written(ConnectionId id, Instant now);
  void on_disconnect(ConnectionId id, Instant now);  // after CloseConnection too
  void on_timeout(Instant now);
  /// Gives a batch buffer back once it is written, so that idle connections hold none. Optional.
  void recycle(Bytes&& buffer);
  /// Tells every client that the server restarts (frame 0x15). The shell closes once output is drained.
  void announce_restart(Duration reconnect_in, Duration try_for, Instant now);

  // Outputs.
  std::optional<ServerEvent> poll_event();
  /// A connection that has output and no batch in flight. Each is reported once until its batch is taken.
  std::optional<ConnectionId> poll_ready();
  /// Replaces `batch` by up to 64 KiB of stream bytes (or one longer frame) and starts the write deadline.
  /// false: nothing to write.
  bool take_output(ConnectionId id, Bytes& batch, Instant now);
  std::optional<Instant> next_timeout() const;
  const PublicKey& public_key() const;
  const ServerCounters& counters() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dh::derp
