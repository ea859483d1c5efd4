#pragma once

// How a datagram from the peer, through a relay or directly, is told apart by its first byte.
// Spec: docs/protocol/handshake.md "Datagram kinds".

#include <cstdint>
#include <optional>

#include "base/bytes.hh"

namespace dh::wire {

enum class DatagramKind : std::uint8_t {
  Bulk,       // 0b1000xxxx
  Control,    // 0b1001xxxx: control_packet.hh
  Handshake,  // 0b1010xxxx: M2 or cookie reply; or the disco magic: M1. handshake_msg.hh
  Probe,      // 0b1011xxxx: path_probe.hh
  Unknown,    // nothing of ours
};

/// What relays look at to answer "not here" for an absent receiver: `TS` + U+1F4AC, in UTF-8.
inline constexpr ByteArray<6> kDiscoMagic = {std::byte{0x54}, std::byte{0x53}, std::byte{0xf0},
                                             std::byte{0x9f}, std::byte{0x92}, std::byte{0xac}};

/// By the first bytes alone; proves nothing.
DatagramKind datagram_kind(ByteView packet);

}  // namespace dh::wire
