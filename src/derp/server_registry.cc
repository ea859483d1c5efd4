#include "derp/server_registry.hh"

#include "base/check.hh"

namespace dh::derp {

void ServerRegistry::add(Connection& connection) {
  CHECK(connection.peer == nullptr);
  LocalPeer& peer = peers_[connection.key];
  peer.key = connection.key;
  connection.peer = &peer;
  connection.place = peer.connections.insert(peer.connections.end(), &connection);
  if (peer.connections.size() == 2) ++duplicate_keys_;
}

std::vector<ConnectionId> ServerRegistry::remove(Connection& connection) {
  CHECK(connection.peer != nullptr);
  LocalPeer& peer = *connection.peer;
  peer.connections.erase(connection.place);
  connection.peer = nullptr;
  ++generation_;
  if (peer.connections.size() == 1) --duplicate_keys_;
  if (!peer.connections.empty()) return {};
  std::vector<ConnectionId> told(peer.subscribers.begin(), peer.subscribers.end());
  peers_.erase(connection.key);
  return told;
}

LocalPeer* ServerRegistry::find(const PublicKey& key) {
  const auto found = peers_.find(key);
  return found == peers_.end() ? nullptr : &found->second;
}

LocalPeer* ServerRegistry::route(Connection& from, const PublicKey& to) {
  RouteCache& cache = from.route;
  if (cache.generation == generation_ && SameKey()(cache.key, to)) return cache.peer;
  LocalPeer* peer = find(to);
  if (peer) cache = RouteCache{to, peer, nullptr, generation_};
  return peer;
}

void ServerRegistry::make_active(Connection& connection) {
  auto& connections = connection.peer->connections;
  connections.splice(connections.end(), connections, connection.place);
}

}  // namespace dh::derp
