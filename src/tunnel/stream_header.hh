#pragma once

#include <cstdint>
#include <expected>

#include "base/bytes.hh"

namespace dh::tunnel {

/// What a forwarded connection's stream begins with, from the opener. Never an address: what an id means, the
/// sharing side alone decides. Spec: docs/protocol/tunnel.md "Stream header".
//   0         1       2            4
//   | version | flags | forward id |
struct StreamHeader {
  static constexpr std::uint8_t kVersion = 1;
  static constexpr std::size_t kSize = 4;  // bytes on the wire

  std::uint16_t forward = 0;  // 0: the one thing that `share` shares

  void serialize(Writer& w) const;
  /// Of exactly kSize bytes. Errors: BadValue for another version or any flag: both change what follows.
  static std::expected<StreamHeader, WireError> parse(ByteView bytes);
  bool operator==(const StreamHeader&) const = default;
};

}  // namespace dh::tunnel
