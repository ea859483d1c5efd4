#pragma once

// The relay's loop without a scheduler: one epoll set over listeners, connections and a timer, served a turn
// at a time. Hundreds of connections share one read buffer and a few write buffers, and everything a turn
// produces for one connection leaves in one system call.

#include <array>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "io/derp_server.hh"
#include "io/relay_connection.hh"
#include "io/relay_routes.hh"

namespace dh::io {

class RelayEngine {
public:
  /// `shell` is counted into and must outlive the engine; so must `rng`.
  RelayEngine(const DerpServerOptions& options, std::unique_ptr<TlsServerContext> tls, ShellCounters& shell,
              Instant now, Rng& rng);
  ~RelayEngine();

  /// Serves what arrives at a listening socket. `metrics`: /metrics in plain HTTP instead of the relay.
  void add_listener(Fd fd, bool metrics);

  /// Readable (also for an outer epoll) whenever turn() has something to do, deadlines included.
  int descriptor() const { return epoll_.get(); }
  /// Handles what is ready now, a bounded amount of it.
  void turn(Instant now);

  /// Closes the listeners, tells every client to come back, ends each connection once its output is written.
  void begin_drain(Duration reconnect_in, Duration try_for, Instant now);
  std::size_t connections() const { return connections_.size(); }
  const derp::ServerCore& core() const { return core_; }

private:
  using Id = derp::ConnectionId;
  struct Listener {
    Fd fd;
    bool metrics = false;
  };

  // Events of a turn.
  void accept_ready(Listener& listener, Instant now);
  void on_readable(RelayConnection& connection, Instant now);
  void on_writable(RelayConnection& connection, Instant now);
  void expire(Instant now);

  // Bytes of the stream, TLS removed.
  void on_stream(RelayConnection& connection, ByteSpan bytes, Instant now);
  void serve_heads(RelayConnection& connection, Instant now);
  void upgrade(RelayConnection& connection, Upgrade kind, ByteView behind_head, Instant now);
  void on_websocket(RelayConnection& connection, ByteSpan bytes, Instant now);
  void feed_core(RelayConnection& connection, ByteView bytes, Instant now);

  // Output.
  void collect(Instant now);
  void handle_core_events(Instant now);
  void settle(Instant now);
  void end_idle(Instant now);
  void flush(RelayConnection& connection, Instant now);
  void mark_dirty(RelayConnection& connection);

  // Lifetimes.
  RelayConnection* find(Id id);
  void end_gently(RelayConnection& connection, WsClose code, Instant now);
  void close(RelayConnection& connection, Instant now);
  void set_deadline(RelayConnection& connection, std::optional<Instant> deadline);
  void watch(RelayConnection& connection);
  void watch_listeners(bool on);
  void arm_timer();
  ByteArray<16> address_key(const IpAddress& address) const;

  const DerpServerOptions& options_;
  std::unique_ptr<TlsServerContext> tls_;
  ShellCounters& shell_;
  derp::ServerCore core_;
  Fd epoll_;
  Fd timer_;
  std::vector<Listener> listeners_;
  std::unordered_map<Id, std::unique_ptr<RelayConnection>> connections_;
  std::vector<std::unique_ptr<RelayConnection>> graveyard_;  // closed in this turn
  std::map<ByteArray<16>, std::size_t> per_address_;
  std::set<std::pair<Instant, Id>> deadlines_;
  Id next_id_;
  std::optional<Instant> timer_at_;         // what the timer is set to
  std::optional<Instant> accept_again_at_;  // accepting is paused until then
  bool draining_ = false;

  BufferPool pool_;
  std::vector<RelayConnection*> dirty_;  // to flush before the turn ends
  std::vector<Id> corked_;               // batches taken but not yet reported as written
  Bytes batch_;
  Bytes read_buffer_;
  Bytes plain_buffer_;
};

}  // namespace dh::io
