#include "wire/handshake_msg.hh"

#include "base/check.hh"
#include "wire/datagram.hh"

namespace dh::wire {
namespace {

std::optional<WireError> check_size(ByteView packet, std::size_t size) {
  if (packet.size() < size) return WireError::Truncated;
  if (packet.size() > size) return WireError::TooLong;
  return std::nullopt;
}

// Type and version of the messages towards the dialer.
std::optional<WireError> check_head(Reader& reader, std::uint8_t type) {
  if (reader.u8() != type) return WireError::BadMagic;
  if (reader.u8() != kHandshakeVersion) return WireError::BadValue;
  return std::nullopt;
}

}  // namespace

Bytes HandshakeM1::serialize() const {
  Bytes out;
  out.reserve(kSize);
  Writer writer(out);
  writer.bytes(kDiscoMagic);
  writer.bytes(initiator_derp.bytes);
  writer.u8(kType);
  writer.u8(kHandshakeVersion);
  writer.u32(sender_index);
  writer.bytes(noise);
  writer.bytes(mac1);
  writer.bytes(mac2);
  CHECK(out.size() == kSize);
  return out;
}

std::expected<HandshakeM1, WireError> HandshakeM1::parse(ByteView packet) {
  if (const auto error = check_size(packet, kSize)) return std::unexpected(*error);
  Reader reader(packet);
  HandshakeM1 m1;
  if (!equal_bytes(reader.bytes(kDiscoMagic.size()), kDiscoMagic))
    return std::unexpected(WireError::BadMagic);
  m1.initiator_derp.bytes = reader.array<32>();
  if (const auto error = check_head(reader, kType)) return std::unexpected(*error);
  m1.sender_index = reader.u32();
  m1.noise = reader.array<kNoiseSize>();
  m1.mac1 = reader.array<16>();
  m1.mac2 = reader.array<16>();
  return m1;
}

Bytes HandshakeM2::serialize() const {
  Bytes out;
  out.reserve(kSize);
  Writer writer(out);
  writer.u8(kType);
  writer.u8(kHandshakeVersion);
  writer.u32(receiver_index);
  writer.u32(sender_index);
  writer.bytes(noise);
  writer.bytes(mac1);
  CHECK(out.size() == kSize);
  return out;
}

std::expected<HandshakeM2, WireError> HandshakeM2::parse(ByteView packet) {
  if (const auto error = check_size(packet, kSize)) return std::unexpected(*error);
  Reader reader(packet);
  if (const auto error = check_head(reader, kType)) return std::unexpected(*error);
  HandshakeM2 m2;
  m2.receiver_index = reader.u32();
  m2.sender_index = reader.u32();
  m2.noise = reader.array<kNoiseSize>();
  m2.mac1 = reader.array<16>();
  return m2;
}

Bytes CookieReply::serialize() const {
  Bytes out;
  out.reserve(kSize);
  Writer writer(out);
  writer.u8(kType);
  writer.u8(kHandshakeVersion);
  writer.u32(receiver_index);
  writer.bytes(nonce);
  writer.bytes(sealed);
  CHECK(out.size() == kSize);
  return out;
}

std::expected<CookieReply, WireError> CookieReply::parse(ByteView packet) {
  if (const auto error = check_size(packet, kSize)) return std::unexpected(*error);
  Reader reader(packet);
  if (const auto error = check_head(reader, kType)) return std::unexpected(*error);
  CookieReply reply;
  reply.receiver_index = reader.u32();
  reply.nonce = reader.array<24>();
  reply.sealed = reader.array<32>();
  return reply;
}

}  // namespace dh::wire
