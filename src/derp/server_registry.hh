#pragma once

#include <list>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "derp/server_connection.hh"

namespace dh::derp {

/// One key with at least one connection here.
struct LocalPeer {
  PublicKey key;
  /// By recency of what they sent; the last one is the active one, the only to receive packets. So the newest
  /// connection wins at once, an older one that speaks wins back, and a leaving one hands over to the one
  /// heard before it.
  std::list<Connection*> connections;
  /// Who received packets of this key, to be told when it goes. Ids of connections that are gone may linger.
  std::unordered_set<ConnectionId> subscribers;
  Instant prune_at{};

  Connection& active() const { return *connections.back(); }
};

/// Which keys are here and through which connections. Does not own connections.
class ServerRegistry {
public:
  // PeerGone is a hint; a client that sprays the whole relay must not make it remember everyone twice over.
  static constexpr std::size_t kMaxSubscribers = 4096;

  /// Registers an active connection under its key and makes it the one that receives.
  void add(Connection& connection);
  /// Unregisters; the subscribers to be told when this was the last connection of its key.
  std::vector<ConnectionId> remove(Connection& connection);
  /// Something came from the connection: among several of one key it becomes the active one.
  void note_activity(Connection& connection) {
    if (connection.peer->connections.back() != &connection) make_active(connection);
  }
  LocalPeer* find(const PublicKey& key);
  /// find() for `from`'s next packet, through its cache.
  LocalPeer* route(Connection& from, const PublicKey& to);
  /// `to` received a packet of `from`'s key.
  template <typename IsAlive>
  void subscribe(Connection& from, const Connection& to, Instant now, IsAlive is_alive) {
    if (from.route.subscriber == &to) return;
    from.route.subscriber = &to;
    auto& subscribers = from.peer->subscribers;
    if (subscribers.size() >= kMaxSubscribers) {
      if (now < from.peer->prune_at) return;
      from.peer->prune_at = now + 1s;  // paced, so that a full set costs no scan per packet
      std::erase_if(subscribers, [&](ConnectionId id) { return !is_alive(id); });
      if (subscribers.size() >= kMaxSubscribers) return;
    }
    subscribers.insert(to.id);
  }

  const auto& peers() const { return peers_; }
  std::uint64_t duplicate_keys() const { return duplicate_keys_; }

private:
  // One memcmp; the array's own comparison goes byte by byte.
  struct SameKey {
    bool operator()(const PublicKey& a, const PublicKey& b) const { return equal_bytes(a.bytes, b.bytes); }
  };

  void make_active(Connection& connection);

  std::unordered_map<PublicKey, LocalPeer, PublicKeyHash, SameKey> peers_;
  std::uint64_t generation_ = 1;  // changes with every removal: route caches hold pointers
  std::uint64_t duplicate_keys_ = 0;
};

}  // namespace dh::derp
