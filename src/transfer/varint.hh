#pragma once

#include "base/bytes.hh"

namespace dh::transfer {

/// Seven bits a byte, least significant first, the top bit says that more follows. At most ten bytes.
inline void put_varint(Writer& w, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) w.u8(static_cast<std::uint8_t>(value | 0x80));
  w.u8(static_cast<std::uint8_t>(value));
}

/// Marks the reader bad for what is cut short, too long, or longer than it had to be.
inline std::uint64_t get_varint(Reader& r) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = r.u8();
    if (shift == 63 && byte > 1) break;
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift > 0) break;
      return r.ok() ? value : 0;
    }
  }
  r.skip(r.remaining() + 1);
  return 0;
}

}  // namespace dh::transfer
