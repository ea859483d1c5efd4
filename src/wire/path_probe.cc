#include "wire/path_probe.hh"

namespace dh::wire {

void write_endpoint(Writer& w, const Endpoint& endpoint) {
  w.bytes(endpoint.address.mapped());
  w.u16(endpoint.port);
}

Endpoint read_endpoint(Reader& r) {
  Endpoint endpoint;
  endpoint.address = IpAddress::v6(r.array<16>());  // unmaps
  endpoint.port = r.u16();
  return endpoint;
}

void ProbeHeader::serialize(Writer& w) const {
  w.u8(kFirstByte);
  w.u32(receiver_index);
  w.u64(counter);
}

std::expected<ProbeHeader, WireError> ProbeHeader::parse(ByteView datagram) {
  Reader reader(datagram);
  if (reader.u8() != kFirstByte) return std::unexpected(WireError::BadMagic);
  ProbeHeader header;
  header.receiver_index = reader.u32();
  header.counter = reader.u64();
  if (!reader.ok()) return std::unexpected(reader.error());
  if (datagram.size() < kProbeSize || datagram.size() > kMaxProbeSize)
    return std::unexpected(WireError::BadValue);
  return header;
}

void ProbeBody::serialize(Writer& w) const {
  w.u8(static_cast<std::uint8_t>(kind));
  w.u64(transaction);
  write_endpoint(w, seen);
  w.zeros(kSize - 1 - 8 - kEndpointSize);
}

std::expected<ProbeBody, WireError> ProbeBody::parse(ByteView plain) {
  if (plain.size() < kSize) return std::unexpected(WireError::Truncated);
  Reader reader(plain);
  ProbeBody body;
  const std::uint8_t kind = reader.u8();
  if (kind < 1 || kind > 2) return std::unexpected(WireError::BadValue);
  body.kind = static_cast<ProbeKind>(kind);
  if (body.kind == ProbeKind::Pong && plain.size() != kSize) return std::unexpected(WireError::BadValue);
  body.transaction = reader.u64();
  body.seen = read_endpoint(reader);
  return body;
}

}  // namespace dh::wire
