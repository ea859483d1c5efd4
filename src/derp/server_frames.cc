#include <algorithm>

#include "derp/login.hh"
#include "derp/server_impl.hh"
#include "wire/derp_frame.hh"

namespace dh::derp {
namespace {

using wire::derp::FrameType;

constexpr std::size_t kMinClientInfo = 56;  // key and nonce
constexpr std::size_t kMaxSendPacket = wire::derp::kDerpKeySize + wire::derp::kMaxPacketSize;
constexpr std::size_t kMaxForwardPacket = 2 * wire::derp::kDerpKeySize + wire::derp::kMaxPacketSize;
// What one frame costs the receive limiter at most, and what its burst is raised to.
constexpr std::uint64_t kMaxFrameCost = kMaxSendPacket;

std::optional<CloseReason> within(std::size_t length, std::size_t least, std::size_t most) {
  if (length > most) return CloseReason::FrameTooLong;
  if (length < least) return CloseReason::ProtocolError;
  return std::nullopt;
}

bool is_for_servers(FrameType type) {
  switch (type) {
    case FrameType::SendPacket:
    case FrameType::ForwardPacket:
    case FrameType::NotePreferred:
    case FrameType::WatchConns:
    case FrameType::ClosePeer:
    case FrameType::Ping:
      return true;
    case FrameType::ServerKey:
    case FrameType::ClientInfo:
    case FrameType::ServerInfo:
    case FrameType::RecvPacket:
    case FrameType::KeepAlive:
    case FrameType::PeerGone:
    case FrameType::PeerPresent:
    case FrameType::Pong:
    case FrameType::Health:
    case FrameType::Restarting:
      return false;
  }
  return false;
}

}  // namespace

void ServerCore::Impl::process(Connection& connection, Instant now) {
  bool out_of_tokens = false;
  while (connection.state != ConnectionState::Closing) {
    const auto header = connection.in.header();
    if (!header) break;
    if (const auto breach = judge(connection, *header)) return close(connection, *breach);
    if (!pay(connection, *header, now)) {
      out_of_tokens = true;
      break;
    }
    if (connection.state == ConnectionState::Active && !is_for_servers(header->type)) {
      ++counters.unknown_frames;
      connection.next_is_paid = false;
      registry.note_activity(connection);
      connection.in.discard();
      continue;
    }
    const auto frame = connection.in.next();
    if (!frame) break;
    connection.next_is_paid = false;
    on_frame(connection, *frame, now);
  }
  if (connection.state == ConnectionState::Closing || out_of_tokens == connection.reading_paused) return;
  connection.reading_paused = out_of_tokens;
  if (out_of_tokens) ++counters.rate_pauses;
  events.emplace_back(PauseReading{connection.id, out_of_tokens});
}

// Lengths are judged by the header, before anything is kept for the rest of the frame.
std::optional<CloseReason> ServerCore::Impl::judge(const Connection& connection,
                                                   const wire::derp::FrameHeader& header) const {
  if (connection.state == ConnectionState::AwaitClientInfo) {
    if (header.type != FrameType::ClientInfo) return CloseReason::BadLogin;
    return within(header.length, kMinClientInfo, wire::derp::kMaxClientInfoPayload);
  }
  const bool privileged = header.type == FrameType::ForwardPacket || header.type == FrameType::WatchConns ||
                          header.type == FrameType::ClosePeer;
  if (privileged && !connection.is_mesh) return CloseReason::NotAuthorised;
  if (header.type == FrameType::SendPacket)
    return within(header.length, wire::derp::kDerpKeySize, kMaxSendPacket);
  if (header.type == FrameType::ForwardPacket)
    return within(header.length, 2 * wire::derp::kDerpKeySize, kMaxForwardPacket);
  if (header.type == FrameType::Ping)
    return within(header.length, wire::derp::kPingSize, wire::derp::kMaxPingPayload);
  if (header.type == FrameType::NotePreferred) return within(header.length, 1, 1);
  if (header.type == FrameType::WatchConns) return within(header.length, 0, 0);
  if (header.type == FrameType::ClosePeer)
    return within(header.length, wire::derp::kDerpKeySize, wire::derp::kDerpKeySize);
  return within(header.length, 0, wire::derp::kMaxFramePayload);
}

// The receive limiter: a frame is paid for before it is waited for. Mesh peers have no limit.
bool ServerCore::Impl::pay(Connection& connection, const wire::derp::FrameHeader& header, Instant now) {
  if (!connection.receive_limit || connection.next_is_paid) return true;
  const std::uint64_t cost = std::min<std::uint64_t>(header.length, kMaxFrameCost);
  connection.next_is_paid = connection.receive_limit->take(cost, now);
  if (connection.next_is_paid) return true;
  if (!connection.resume_timer_armed) {
    connection.resume_timer_armed = true;
    timers.add(now + connection.receive_limit->wait_for(cost, now), connection.id, TimerKind::Resume);
  }
  return false;
}

void ServerCore::Impl::on_frame(Connection& connection, const wire::derp::FrameSplitter::Frame& frame,
                                Instant now) {
  if (connection.state == ConnectionState::AwaitClientInfo) return log_in(connection, frame.payload, now);
  registry.note_activity(connection);
  if (frame.type == FrameType::SendPacket) return on_send_packet(connection, frame.payload, now);
  if (frame.type == FrameType::ForwardPacket) return on_forward_packet(connection, frame.payload, now);
  if (frame.type == FrameType::Ping) return on_ping(connection, frame.payload);
  if (frame.type == FrameType::WatchConns) return on_watch(connection);
  if (frame.type == FrameType::ClosePeer) return on_close_peer(connection, frame.payload);
  // NotePreferred: nothing here depends on which relay is a client's home.
}

void ServerCore::Impl::log_in(Connection& connection, ByteView payload, Instant now) {
  const auto frame = wire::derp::ClientInfoFrame::parse(payload);
  if (!frame) return close(connection, CloseReason::BadLogin);
  const auto login = open_client_info(frame->sealed, frame->key, keys.secret);
  if (!login) return close(connection, CloseReason::BadLogin);

  connection.key = frame->key;
  connection.is_prober = login->is_prober;
  // A wrong mesh key makes an ordinary client, not an error.
  connection.is_mesh = config.mesh_key && login->mesh_key && *config.mesh_key == *login->mesh_key;
  if (!connection.is_mesh && config.client_rate_bytes != 0) {
    connection.receive_limit.emplace(config.client_rate_bytes,
                                     std::max(config.client_burst_bytes, kMaxFrameCost), now);
  }
  connection.state = ConnectionState::Active;
  registry.add(connection);
  counters.duplicate_keys = registry.duplicate_keys();
  ++counters.logins;

  // Nothing else may come between ServerKey and ServerInfo: clients and probers take the first frame for it.
  Bytes info;
  if (!append_server_info(info, ServerLogin{.version = wire::derp::kDerpVersion}, keys, connection.key, rng))
    return close(connection, CloseReason::BadLogin);
  send(connection, RawFrame{info});

  const auto jitter_ns = static_cast<std::uint64_t>(kKeepAliveJitter.count());
  connection.keepalive_period = kKeepAlive + Duration(static_cast<std::int64_t>(rng.below(jitter_ns)));
  timers.add(now + connection.keepalive_period, connection.id, TimerKind::KeepAlive);
  announce_present(connection);
}

void ServerCore::Impl::on_send_packet(Connection& connection, ByteView payload, Instant now) {
  const PublicKey to = PublicKey::from(payload.first<wire::derp::kDerpKeySize>());
  const ByteView packet = payload.subspan(wire::derp::kDerpKeySize);
  const bool disco = wire::derp::looks_like_disco(packet);
  ++counters.packets_received;
  counters.bytes_received += packet.size();
  if (disco) ++counters.disco_received;

  LocalPeer* peer = registry.route(connection, to);
  if (!peer) {
    ++counters.dropped_unknown_dest;
    return not_here(connection, to, disco, now);
  }
  Connection& receiver = peer->active();
  receiver.out.push_packet(connection.key, packet, disco);
  make_ready(receiver);
  if (peer != connection.peer)
    registry.subscribe(connection, receiver, now, [this](ConnectionId id) { return is_alive(id); });
}

// Only probes are told that their peer is not here, and only so often: a client that sprays keys learns
// nothing quickly, and plain data costs no answer.
void ServerCore::Impl::not_here(Connection& connection, const PublicKey& peer, bool disco, Instant now) {
  if (!disco || !connection.not_here.take(1, now)) return;
  ++counters.peer_gone_not_here;
  send(connection, wire::derp::PeerGoneFrame{peer, 1});
}

void ServerCore::Impl::on_ping(Connection& connection, ByteView payload) {
  ++counters.pings;
  if (connection.pong_pending) return;
  connection.pong_pending = true;
  ++counters.pongs;
  wire::derp::PongFrame pong;
  std::copy_n(payload.begin(), pong.data.size(), pong.data.begin());
  send(connection, pong);
}

}  // namespace dh::derp
