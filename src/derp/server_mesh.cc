#include "derp/server_impl.hh"
#include "wire/derp_frame.hh"

// What mesh peers, clients that know the mesh key, may do beyond others. Frames of these kinds from anybody
// else never come here (judge() in server_frames.cc).
namespace dh::derp {
namespace {

wire::derp::PeerPresentFrame present(const Connection& connection) {
  wire::derp::PeerPresentFrame frame{connection.key, connection.address, 0};
  if (connection.is_mesh) frame.flags |= wire::derp::PeerPresentFrame::kMeshPeer;
  if (connection.is_prober) frame.flags |= wire::derp::PeerPresentFrame::kProber;
  if (frame.flags == 0) frame.flags = wire::derp::PeerPresentFrame::kRegular;
  return frame;
}

}  // namespace

// One hop: a forwarded packet reaches a client of ours or nobody.
void ServerCore::Impl::on_forward_packet(Connection& connection, ByteView payload, Instant now) {
  const auto frame = wire::derp::ForwardPacketFrame::parse(payload);
  if (!frame) return close(connection, CloseReason::ProtocolError);
  const bool disco = wire::derp::looks_like_disco(frame->packet);
  ++counters.forwarded_in;
  counters.bytes_received += frame->packet.size();
  LocalPeer* peer = registry.route(connection, frame->to);
  if (!peer) {
    ++counters.dropped_unknown_dest;
    return not_here(connection, frame->to, disco, now);
  }
  peer->active().out.push_packet(frame->from, frame->packet, disco);
  make_ready(peer->active());
}

void ServerCore::Impl::on_watch(Connection& connection) {
  if (connection.is_watcher || connection.key == keys.pub) return;  // the latter: we talk to ourselves
  connection.is_watcher = true;
  watchers.push_back(connection.id);
  send(connection, present(connection));
  for (const auto& [key, peer] : registry.peers()) {
    if (&peer != connection.peer) send(connection, present(peer.active()));
  }
}

void ServerCore::Impl::on_close_peer(Connection& /*connection*/, ByteView payload) {
  const LocalPeer* peer = registry.find(PublicKey::from(payload.first<wire::derp::kDerpKeySize>()));
  if (!peer) return;
  // Closing the last one ends `peer`; it may be the very connection that asked.
  const std::vector<Connection*> all(peer->connections.begin(), peer->connections.end());
  for (Connection* one : all) close(*one, CloseReason::ClosedByMesh);
}

void ServerCore::Impl::announce_present(const Connection& connection) {
  for (const ConnectionId id : watchers) {
    if (Connection* watcher = find(id)) send(*watcher, present(connection));
  }
}

void ServerCore::Impl::announce_gone(const PublicKey& peer) {
  for (const ConnectionId id : watchers) {
    if (Connection* watcher = find(id)) send(*watcher, wire::derp::PeerGoneFrame{peer, 0});
  }
}

}  // namespace dh::derp
