#pragma once

#include <list>

#include "derp/server_output.hh"
#include "derp/token_bucket.hh"
#include "wire/derp_frame_reader.hh"

namespace dh::derp {

struct Connection;
struct LocalPeer;

// Where one connection of a server stands.
//   AwaitClientInfo --ClientInfo opens--> Active
//          |                                |
//          +-----any breach or timeout------+--> Closing --on_disconnect--> (gone)
enum class ConnectionState : std::uint8_t {
  AwaitClientInfo,  // ServerKey is staged; no key yet, in no table but the one of ids
  Active,           // registered under its key; ServerInfo was the first thing staged then
  Closing,          // CloseConnection was reported; unregistered, holds no output, inputs are ignored
};

/// The destination a client sent to last. Most clients talk to one peer at a time, and comparing a key is
/// cheaper than hashing it.
struct RouteCache {
  PublicKey key;
  LocalPeer* peer = nullptr;
  const Connection* subscriber = nullptr;  // already told apart as a receiver of ours
  std::uint64_t generation = 0;            // of the registry; another one voids all of this
};

/// What a server knows of one connection. A resource, found by id.
struct Connection {
  static constexpr std::uint64_t kNotHereBurst = 3;      // "peer not here" notices at once,
  static constexpr std::uint64_t kNotHerePerSecond = 1;  // and per second afterwards

  Connection(ConnectionId connection_id, const Endpoint& from, BufferPool& pool, ServerCounters& counters,
             std::size_t queue_packets, Instant now)
      : id(connection_id),
        address(from),
        out(pool, counters, queue_packets),
        not_here(kNotHerePerSecond, kNotHereBurst, now) {}

  const ConnectionId id;
  const Endpoint address;
  ConnectionState state = ConnectionState::AwaitClientInfo;

  // Valid in Active.
  PublicKey key;
  LocalPeer* peer = nullptr;
  std::list<Connection*>::iterator place;  // in peer->connections
  bool is_mesh = false;                    // knew the mesh key
  bool is_prober = false;
  bool is_watcher = false;
  Duration keepalive_period{};
  RouteCache route;

  // Reading.
  wire::derp::FrameSplitter in;
  bool next_is_paid = false;  // the receive limiter let the frame at the front pass
  bool reading_paused = false;
  bool resume_timer_armed = false;
  std::optional<TokenBucket> receive_limit;

  // Writing.
  ServerOutput out;
  TokenBucket not_here;
  bool ready_listed = false;              // in the list poll_ready() draws from
  bool pong_pending = false;              // a Pong waits: further Pings are ignored
  bool write_timer_armed = false;         // the heap holds an entry for us
  std::optional<Instant> write_deadline;  // while a batch is in flight
};

}  // namespace dh::derp
