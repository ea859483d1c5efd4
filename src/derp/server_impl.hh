#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "derp/server_core.hh"
#include "derp/server_registry.hh"
#include "derp/server_timers.hh"

namespace dh::derp {

/// Bytes that are a frame already.
struct RawFrame {
  ByteView bytes;
  void serialize(Writer& w) const { w.bytes(bytes); }
};

/// The parts of a server and what introduces them to each other: connections and their lives in
/// server_core.cc, the meaning of frames in server_frames.cc, mesh in server_mesh.cc.
struct ServerCore::Impl {
  static constexpr Duration kMeshWriteDeadline = 30s;  // a mesh peer relays for thousands: more patience
  static constexpr Duration kKeepAlive = 60s;          // plus U[0, kKeepAliveJitter) per connection
  static constexpr Duration kKeepAliveJitter = 5s;

  Impl(const ServerConfig& server_config, const KeyPair& key_pair, Rng& generator)
      : config(server_config), keys(key_pair), rng(generator) {}

  // Lives (server_core.cc).
  Connection* find(ConnectionId id);
  bool is_alive(ConnectionId id) { return find(id) != nullptr; }
  void close(Connection& connection, CloseReason reason);
  void unregister(Connection& connection);
  void close_doomed();
  void make_ready(Connection& connection);
  void on_timer(const ServerTimers::Entry& entry, Instant now);
  void arm_write_timer(Connection& connection, Instant now);
  Duration write_deadline(const Connection& connection) const;
  template <typename Frame>
  void send(Connection& connection, const Frame& frame) {
    const bool fits =
        connection.out.push_control(frame, connection.is_watcher ? kMaxMeshControlBytes : kMaxControlBytes);
    // An ordinary client loses a hint; a watcher that missed one would route wrongly for good.
    if (!fits && connection.is_watcher) doomed.push_back(connection.id);
    make_ready(connection);
  }

  // Frames (server_frames.cc).
  void process(Connection& connection, Instant now);
  std::optional<CloseReason> judge(const Connection& connection, const wire::derp::FrameHeader& header) const;
  bool pay(Connection& connection, const wire::derp::FrameHeader& header, Instant now);
  void on_frame(Connection& connection, const wire::derp::FrameSplitter::Frame& frame, Instant now);
  void log_in(Connection& connection, ByteView payload, Instant now);
  void on_send_packet(Connection& connection, ByteView payload, Instant now);
  void on_ping(Connection& connection, ByteView payload);
  void not_here(Connection& connection, const PublicKey& peer, bool disco, Instant now);

  // Mesh (server_mesh.cc).
  void on_forward_packet(Connection& connection, ByteView payload, Instant now);
  void on_watch(Connection& connection);
  void on_close_peer(Connection& connection, ByteView payload);
  void announce_present(const Connection& connection);
  void announce_gone(const PublicKey& peer);

  const ServerConfig config;
  const KeyPair keys;
  Rng& rng;
  ServerCounters counters;
  BufferPool pool;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections;
  ServerRegistry registry;
  ServerTimers timers;
  std::vector<ConnectionId> watchers;
  std::vector<ConnectionId> doomed;  // to be closed at the end of the current input
  std::deque<ServerEvent> events;
  std::deque<ConnectionId> ready;
};

}  // namespace dh::derp
