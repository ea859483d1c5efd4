#pragma once

// Finding a sender that hosts its own relay on the local network: a question to a multicast group and the
// answer to it. Spec: docs/protocol/code.md "On a local network".

#include <cstdint>
#include <expected>
#include <vector>

#include "base/bytes.hh"

namespace dh::wire {

using LanTag = ByteArray<16>;

//   0        4      5         6       22      23
//   | "dxln" | 0x01 | version | nonce | count | tags, 16 each | zeros |
struct LanQuestion {
  static constexpr std::size_t kSize = 128;  // bytes, always: no answer is longer
  static constexpr std::size_t kMaxTags = 3;
  ByteArray<16> nonce{};
  std::vector<LanTag> tags;  // 1..3: one for every hour the code may be of
  /// CHECKs the number of tags.
  Bytes serialize() const;
  static std::expected<LanQuestion, WireError> parse(ByteView packet);
  bool operator==(const LanQuestion&) const = default;
};

//   0        4      5         6       22     30
//   | "dxln" | 0x02 | version | nonce | salt | sealed 50 |
struct LanAnswer {
  static constexpr std::size_t kSealedAt = 30;
  static constexpr std::size_t kSealedSize = 50;  // port 2, certificate's digest 32, tag 16
  static constexpr std::size_t kSize = kSealedAt + kSealedSize;
  ByteArray<16> nonce{};  // the question's
  ByteArray<8> salt{};
  ByteArray<kSealedSize> sealed{};
  Bytes serialize() const;
  static std::expected<LanAnswer, WireError> parse(ByteView packet);
  bool operator==(const LanAnswer&) const = default;
};

}  // namespace dh::wire
