#pragma once

// One TCP connection of the relay: its socket, its optional TLS, and the bytes waiting to leave. It knows
// nothing of DERP; RelayEngine introduces it to the core.

#include <memory>
#include <optional>
#include <vector>

#include "derp/server_core.hh"
#include "io/listen_socket.hh"
#include "io/tls_session.hh"
#include "wire/websocket.hh"

namespace dh::io {

/// Output buffers lent to connections that have something to write, so that idle ones own none.
class BufferPool {
public:
  Bytes take();
  void give(Bytes&& buffer);

private:
  std::vector<Bytes> free_;
};

// What a connection speaks.
//   Head --upgrade--> Derp | WebSocket
//   Head, Derp, WebSocket --last bytes written--> Lingering --peer's FIN, 1 s--> gone
enum class ConnectionStage : std::uint8_t {
  Head,       // HTTP request heads; head_bytes holds what has arrived of one; a deadline runs
  Derp,       // DERP frames; known to the core
  WebSocket,  // DERP in binary messages; known to the core
  Lingering,  // our FIN is sent; what arrives is thrown away, so that no reset destroys our last bytes
};

/// A resource; owned by the engine.
class RelayConnection {
public:
  RelayConnection(Fd fd, derp::ConnectionId id, const Endpoint& peer, const TlsServerContext* tls);

  /// One read of at most `into.size()` bytes. 0 at the end of the stream; nullopt when there is nothing now;
  /// -1 as an error.
  std::optional<std::ptrdiff_t> receive(ByteSpan into);

  /// Takes plain bytes to write, in the stage's wrapping. `bytes` is left empty with some capacity.
  void queue(Bytes& bytes, BufferPool& pool);
  void queue_text(std::string_view text);
  /// Already wrapped bytes (WebSocket control frames) or the vector TLS writes its own records to.
  Bytes& plain() { return plain_; }
  Bytes& wire() { return wire_; }

  enum class Flush : std::uint8_t {
    Done,     // nothing is left
    Partial,  // the socket took some and is full
    Blocked,  // the socket took nothing
    Failed,   // the connection is broken
  };
  /// Encrypts what is queued and writes as much as the socket takes.
  Flush flush(BufferPool& pool);
  bool has_output() const { return !plain_.empty() || sent_ < wire_.size(); }
  std::size_t output_bytes() const { return plain_.size() + wire_.size() - sent_; }

  /// Ends our direction: WebSocket close, TLS close_notify (both need a later flush), then
  /// shut_down_sending().
  void queue_goodbye(WsClose code);
  void shut_down_sending();

  const derp::ConnectionId id;
  const Endpoint peer;
  Fd fd;
  std::unique_ptr<TlsSession> tls;
  std::unique_ptr<WsDecoder> websocket;

  // The engine's notes about this connection.
  ConnectionStage stage = ConnectionStage::Head;
  bool metrics = false;             // came through the metrics listener
  bool in_core = false;             // on_connect was called, on_disconnect not yet
  bool batch_in_flight = false;     // the core waits for on_written
  bool blocked = false;             // the socket was full at the last flush
  bool paused = false;              // the core's receive limit holds reading
  bool linger_after_flush = false;  // no more input is wanted; shut down once written
  bool dirty = false;               // in the engine's list of connections to flush
  bool gone = false;                // closed in this turn; freed at its end
  Bytes head;
  std::size_t head_searched = 0;
  std::size_t requests = 0;
  std::optional<Instant> deadline;
  std::uint32_t watched = 0;  // epoll events asked for

private:
  Bytes plain_;  // queued, not yet encrypted
  Bytes wire_;   // for the socket; the first sent_ bytes have left
  std::size_t sent_ = 0;
};

}  // namespace dh::io
