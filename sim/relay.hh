#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "derp/server_core.hh"
#include "sim/world.hh"

namespace dh::sim {

/// How bytes travel between a host and a relay: a TCP connection, so in order and whole until it breaks.
struct LinkModel {
  Duration delay = 20ms;  // one way
  Duration jitter{};      // added, uniform; never reorders bytes
  double bytes_per_second = 125e6;
};

/// The real relay core behind simulated TCP connections. Can be killed and started again with the same key.
class Relay {
public:
  /// The host's end of a connection. Callbacks come from the world's events.
  struct Client {
    std::function<void(ByteView)> on_bytes;
    std::function<void()> on_closed;
  };

  Relay(World& world, const LinkModel& link);

  /// Connects after one round trip; on_closed when the relay is dead. The id is valid until closed.
  std::uint64_t connect(Client client);
  void send(std::uint64_t id, Bytes bytes);  // host -> relay
  void disconnect(std::uint64_t id);
  bool is_open(std::uint64_t id) const { return connections_.contains(id); }

  void kill();
  void start();
  /// From now on nothing passes, but no connection breaks either.
  void set_black_hole(bool on) { black_hole_ = on; }
  const PublicKey& public_key() const { return key_.pub; }
  const derp::ServerCore* core() const { return core_ ? &*core_ : nullptr; }
  /// Every byte any host sent to this relay; for marker searches.
  std::function<void(ByteView)> on_seen;

private:
  struct Connection {
    Client client;
    Instant to_relay_free{}, to_host_free{};  // when the direction's wire is idle again
    Instant last_to_relay{}, last_to_host{};  // arrival of the byte before
  };
  Duration travel();
  void service();
  void arm();
  void drop(std::uint64_t id, bool tell_host);

  World& world_;
  LinkModel link_;
  KeyPair key_;
  std::optional<derp::ServerCore> core_;
  std::map<std::uint64_t, Connection> connections_;
  std::uint64_t next_id_ = 1, incarnation_ = 0;
  std::optional<Instant> armed_;
  bool black_hole_ = false;
};

}  // namespace dh::sim
