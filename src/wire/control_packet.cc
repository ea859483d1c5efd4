#include "wire/control_packet.hh"

#include "base/check.hh"

namespace dh::wire {

void ControlHeader::serialize(Writer& w) const {
  w.u8(kFirstByte);
  w.u32(receiver_index);
  w.u64(counter);
}

std::expected<ControlHeader, WireError> ControlHeader::parse(ByteView packet) {
  Reader reader(packet);
  if (reader.u8() != kFirstByte) return std::unexpected(WireError::BadMagic);
  ControlHeader header;
  header.receiver_index = reader.u32();
  header.counter = reader.u64();
  if (!reader.ok()) return std::unexpected(reader.error());
  return header;
}

void ControlBody::serialize(Writer& w) const {
  w.u32(next_expected);
  w.u64(received);
  w.u32(seq);
  w.bytes(message);
}

std::expected<ControlBody, WireError> ControlBody::parse(ByteView plain) {
  Reader reader(plain);
  ControlBody body;
  body.next_expected = reader.u32();
  body.received = reader.u64();
  body.seq = reader.u32();
  body.message = to_bytes(reader.rest());
  if (!reader.ok()) return std::unexpected(reader.error());
  // A number and a message come together or not at all.
  if ((body.seq == 0) != body.message.empty()) return std::unexpected(WireError::BadValue);
  return body;
}

Bytes seal_control(Aead& key, const ControlHeader& header, const ControlBody& body) {
  Bytes out;
  out.reserve(ControlHeader::kSize + ControlBody::kOverhead + body.message.size() + Aead::kTagSize);
  Writer writer(out);
  header.serialize(writer);
  body.serialize(writer);
  CHECK(out.size() >= ControlHeader::kSize);
  const std::size_t plain_size = out.size() - ControlHeader::kSize;
  writer.zeros(Aead::kTagSize);
  const ByteSpan whole(out);
  key.seal(counter_nonce(header.counter), whole.first(ControlHeader::kSize),
           whole.subspan(ControlHeader::kSize, plain_size), whole.subspan(ControlHeader::kSize));
  return out;
}

std::expected<ControlBody, WireError> open_control(Aead& key, ByteView packet) {
  const auto header = ControlHeader::parse(packet);
  if (!header) return std::unexpected(header.error());
  const ByteView sealed = packet.subspan(ControlHeader::kSize);
  if (sealed.size() < ControlBody::kOverhead + Aead::kTagSize) return std::unexpected(WireError::Truncated);
  Bytes plain(sealed.size() - Aead::kTagSize);
  if (!key.open(counter_nonce(header->counter), packet.first(ControlHeader::kSize), sealed, plain))
    return std::unexpected(WireError::BadChecksum);
  return ControlBody::parse(plain);
}

std::optional<std::uint32_t> control_receiver_index(ByteView packet) {
  const auto header = ControlHeader::parse(packet);
  if (!header) return std::nullopt;
  return header->receiver_index;
}

}  // namespace dh::wire
