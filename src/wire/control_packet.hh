#pragma once

// One sealed datagram of the control channel. Spec: docs/protocol/control.md "Packet".

#include <cstdint>
#include <expected>
#include <optional>

#include "base/bytes.hh"
#include "crypto/aead.hh"

namespace dh::wire {

/// In the clear, and the associated data of the rest. Big-endian.
//   0      1                5         13
//   | 0x90 | receiver index | counter | sealed ...
struct ControlHeader {
  static constexpr std::uint8_t kFirstByte = 0x90;
  static constexpr std::size_t kSize = 13;  // bytes on the wire

  std::uint32_t receiver_index = 0;  // chosen by the receiver in the handshake
  std::uint64_t counter = 0;         // also the nonce; never used twice

  void serialize(Writer& w) const;
  static std::expected<ControlHeader, WireError> parse(ByteView packet);
  bool operator==(const ControlHeader&) const = default;
};

/// What is sealed.
//   0           4               12    16
//   | next seq  | received bits | seq | message ...
struct ControlBody {
  static constexpr std::size_t kOverhead = 16;  // bytes beside the message

  std::uint32_t next_expected = 1;  // every message below has arrived
  std::uint64_t received = 0;       // bit i: message next_expected + 1 + i has arrived too
  std::uint32_t seq = 0;            // of `message`; 0: none, an acknowledgement only
  Bytes message;

  void serialize(Writer& w) const;
  static std::expected<ControlBody, WireError> parse(ByteView plain);
  bool operator==(const ControlBody&) const = default;
};

/// Header, sealed body and tag as one datagram. `key` must be the sender's own direction.
Bytes seal_control(Aead& key, const ControlHeader& header, const ControlBody& body);
/// Errors: BadChecksum for what does not authenticate.
std::expected<ControlBody, WireError> open_control(Aead& key, ByteView packet);

/// The session a control datagram claims to be for, to route it; empty: not a control datagram.
std::optional<std::uint32_t> control_receiver_index(ByteView packet);

}  // namespace dh::wire
