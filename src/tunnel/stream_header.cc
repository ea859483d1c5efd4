#include "tunnel/stream_header.hh"

namespace dh::tunnel {

void StreamHeader::serialize(Writer& w) const {
  w.u8(kVersion);
  w.u8(0);
  w.u16(forward);
}

std::expected<StreamHeader, WireError> StreamHeader::parse(ByteView bytes) {
  Reader r(bytes);
  const std::uint8_t version = r.u8(), flags = r.u8();
  StreamHeader header;
  header.forward = r.u16();
  if (!r.ok()) return std::unexpected(Reader::error());
  if (r.remaining() > 0) return std::unexpected(WireError::TooLong);
  if (version != kVersion || flags != 0) return std::unexpected(WireError::BadValue);
  return header;
}

}  // namespace dh::tunnel
