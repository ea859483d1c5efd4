#include "wire/derp_frame.hh"

#include <algorithm>

namespace dh::wire::derp {
namespace {

constexpr ByteArray<6> kDiscoMagic = {std::byte{0x54}, std::byte{0x53}, std::byte{0xf0},
                                      std::byte{0x9f}, std::byte{0x92}, std::byte{0xac}};
constexpr std::size_t kMinDiscoSize = 62;   // magic 6, key 32, nonce 24
constexpr std::size_t kMinSealedSize = 24;  // the nonce; whether the rest opens is the box's business

void write_header(Writer& w, FrameType type, std::size_t length) {
  w.u8(static_cast<std::uint8_t>(type));
  w.u32(static_cast<std::uint32_t>(length));
}

PublicKey read_key(Reader& r) {
  return PublicKey{r.array<kDerpKeySize>()};
}

std::uint32_t to_millis(std::chrono::milliseconds duration) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(duration.count(), 0, UINT32_MAX));
}

}  // namespace

bool looks_like_disco(ByteView packet) {
  return packet.size() >= kMinDiscoSize && equal_bytes(packet.first(kDiscoMagic.size()), kDiscoMagic);
}

void FrameHeader::serialize(Writer& w) const {
  write_header(w, type, length);
}

void ServerKeyFrame::serialize(Writer& w) const {
  write_header(w, FrameType::ServerKey, kDerpMagic.size() + kDerpKeySize);
  w.bytes(kDerpMagic);
  w.bytes(key.bytes);
}

std::expected<ServerKeyFrame, WireError> ServerKeyFrame::parse(ByteView payload) {
  if (payload.size() > kMaxServerKeyPayload) return std::unexpected(WireError::TooLong);
  Reader r(payload);
  const auto magic = r.array<kDerpMagic.size()>();
  if (r.ok() && magic != kDerpMagic) return std::unexpected(WireError::BadMagic);
  const ServerKeyFrame frame{read_key(r)};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void ClientInfoFrame::serialize(Writer& w) const {
  write_header(w, FrameType::ClientInfo, kDerpKeySize + sealed.size());
  w.bytes(key.bytes);
  w.bytes(sealed);
}

std::expected<ClientInfoFrame, WireError> ClientInfoFrame::parse(ByteView payload) {
  if (payload.size() > kMaxClientInfoPayload) return std::unexpected(WireError::TooLong);
  if (payload.size() < kDerpKeySize + kMinSealedSize) return std::unexpected(WireError::Truncated);
  Reader r(payload);
  ClientInfoFrame frame{read_key(r), r.rest()};
  if (frame.key.is_zero()) return std::unexpected(WireError::BadValue);
  return frame;
}

void ServerInfoFrame::serialize(Writer& w) const {
  write_header(w, FrameType::ServerInfo, sealed.size());
  w.bytes(sealed);
}

std::expected<ServerInfoFrame, WireError> ServerInfoFrame::parse(ByteView payload) {
  if (payload.size() > kMaxFramePayload) return std::unexpected(WireError::TooLong);
  if (payload.size() < kMinSealedSize) return std::unexpected(WireError::Truncated);
  return ServerInfoFrame{payload};
}

void SendPacketFrame::serialize(Writer& w) const {
  write_header(w, FrameType::SendPacket, kDerpKeySize + packet.size());
  w.bytes(to.bytes);
  w.bytes(packet);
}

std::expected<SendPacketFrame, WireError> SendPacketFrame::parse(ByteView payload) {
  if (payload.size() > kDerpKeySize + kMaxPacketSize) return std::unexpected(WireError::TooLong);
  Reader r(payload);
  const SendPacketFrame frame{read_key(r), r.rest()};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void RecvPacketFrame::serialize(Writer& w) const {
  write_header(w, FrameType::RecvPacket, kDerpKeySize + packet.size());
  w.bytes(from.bytes);
  w.bytes(packet);
}

std::expected<RecvPacketFrame, WireError> RecvPacketFrame::parse(ByteView payload) {
  Reader r(payload);
  const RecvPacketFrame frame{read_key(r), r.rest()};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void ForwardPacketFrame::serialize(Writer& w) const {
  write_header(w, FrameType::ForwardPacket, 2 * kDerpKeySize + packet.size());
  w.bytes(from.bytes);
  w.bytes(to.bytes);
  w.bytes(packet);
}

std::expected<ForwardPacketFrame, WireError> ForwardPacketFrame::parse(ByteView payload) {
  if (payload.size() > 2 * kDerpKeySize + kMaxPacketSize) return std::unexpected(WireError::TooLong);
  Reader r(payload);
  ForwardPacketFrame frame;
  frame.from = read_key(r);
  frame.to = read_key(r);
  frame.packet = r.rest();
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void KeepAliveFrame::serialize(Writer& w) const {
  write_header(w, FrameType::KeepAlive, 0);
}

void WatchConnsFrame::serialize(Writer& w) const {
  write_header(w, FrameType::WatchConns, 0);
}

void NotePreferredFrame::serialize(Writer& w) const {
  write_header(w, FrameType::NotePreferred, 1);
  w.u8(home ? 1 : 0);
}

std::expected<NotePreferredFrame, WireError> NotePreferredFrame::parse(ByteView payload) {
  if (payload.empty()) return std::unexpected(WireError::Truncated);
  if (payload.size() != 1) return std::unexpected(WireError::TooLong);
  return NotePreferredFrame{payload[0] != std::byte{0}};
}

void PeerGoneFrame::serialize(Writer& w) const {
  write_header(w, FrameType::PeerGone, kDerpKeySize + 1);
  w.bytes(peer.bytes);
  w.u8(reason);
}

std::expected<PeerGoneFrame, WireError> PeerGoneFrame::parse(ByteView payload) {
  Reader r(payload);
  PeerGoneFrame frame{read_key(r)};
  if (!r.ok()) return std::unexpected(r.error());
  if (r.remaining() > 0) frame.reason = r.u8();
  return frame;
}

void PeerPresentFrame::serialize(Writer& w) const {
  write_header(w, FrameType::PeerPresent, kDerpKeySize + 16 + 2 + 1);
  w.bytes(peer.bytes);
  if (address) {
    w.bytes(address->address.mapped());
    w.u16(address->port);
  } else {
    w.zeros(18);
  }
  w.u8(flags);
}

std::expected<PeerPresentFrame, WireError> PeerPresentFrame::parse(ByteView payload) {
  Reader r(payload);
  PeerPresentFrame frame;
  frame.peer = read_key(r);
  if (!r.ok()) return std::unexpected(r.error());
  if (r.remaining() >= 18) {
    const auto ip = r.array<16>();
    const std::uint16_t port = r.u16();
    if (ip != ByteArray<16>{} || port != 0) frame.address = Endpoint{IpAddress::v6(ip), port};
  }
  if (r.remaining() >= 1) frame.flags = r.u8();
  return frame;
}

void ClosePeerFrame::serialize(Writer& w) const {
  write_header(w, FrameType::ClosePeer, kDerpKeySize);
  w.bytes(peer.bytes);
}

std::expected<ClosePeerFrame, WireError> ClosePeerFrame::parse(ByteView payload) {
  if (payload.size() > kDerpKeySize) return std::unexpected(WireError::TooLong);
  Reader r(payload);
  const ClosePeerFrame frame{read_key(r)};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void PingFrame::serialize(Writer& w) const {
  write_header(w, FrameType::Ping, kPingSize);
  w.bytes(data);
}

std::expected<PingFrame, WireError> PingFrame::parse(ByteView payload) {
  if (payload.size() > kMaxPingPayload) return std::unexpected(WireError::TooLong);
  Reader r(payload);
  const PingFrame frame{r.array<kPingSize>()};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void PongFrame::serialize(Writer& w) const {
  write_header(w, FrameType::Pong, kPingSize);
  w.bytes(data);
}

std::expected<PongFrame, WireError> PongFrame::parse(ByteView payload) {
  Reader r(payload);
  const PongFrame frame{r.array<kPingSize>()};
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

void HealthFrame::serialize(Writer& w) const {
  write_header(w, FrameType::Health, problem.size());
  w.text(problem);
}

std::expected<HealthFrame, WireError> HealthFrame::parse(ByteView payload) {
  if (payload.size() > kMaxFramePayload) return std::unexpected(WireError::TooLong);
  return HealthFrame{as_text(payload)};
}

void RestartingFrame::serialize(Writer& w) const {
  write_header(w, FrameType::Restarting, 8);
  w.u32(to_millis(reconnect_in));
  w.u32(to_millis(try_for));
}

std::expected<RestartingFrame, WireError> RestartingFrame::parse(ByteView payload) {
  Reader r(payload);
  RestartingFrame frame;
  frame.reconnect_in = std::chrono::milliseconds(r.u32());
  frame.try_for = std::chrono::milliseconds(r.u32());
  if (!r.ok()) return std::unexpected(r.error());
  return frame;
}

}  // namespace dh::wire::derp
