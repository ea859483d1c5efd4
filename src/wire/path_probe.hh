#pragma once

// Sealed probes between the two ends of a session over candidate paths: "does this way work?" and its answer.
// Spec: docs/protocol/paths.md "Probe".

#include <cstdint>
#include <expected>
#include <optional>

#include "base/address.hh"
#include "base/bytes.hh"

namespace dh::wire {

/// In the clear, and part of the associated data. Big-endian.
//   0      1                5         13
//   | 0xb0 | receiver index | counter | sealed body (32, a ping's may be longer) and tag (16)
struct ProbeHeader {
  static constexpr std::uint8_t kFirstByte = 0xb0;
  static constexpr std::size_t kSize = 13;  // bytes on the wire

  std::uint32_t receiver_index = 0;  // chosen by the receiver in the handshake
  std::uint64_t counter = 0;         // of the sender's probes, on all paths together; also the nonce

  void serialize(Writer& w) const;
  static std::expected<ProbeHeader, WireError> parse(ByteView datagram);
  bool operator==(const ProbeHeader&) const = default;
};

enum class ProbeKind : std::uint8_t {
  Ping = 1,
  Pong = 2,
};

/// What is sealed.
//   0      1             9               27
//   | kind | transaction | seen endpoint | zeros to 32; a ping that asks for room: zeros to any length
struct ProbeBody {
  static constexpr std::size_t kSize = 32;  // bytes on the wire, without a ping's padding

  ProbeKind kind = ProbeKind::Ping;
  std::uint64_t transaction = 0;  // random, chosen by the pinger; a pong repeats it
  Endpoint seen;                  // pong: where the ping came from; ping: where it was sent to

  void serialize(Writer& w) const;
  /// A pong has kSize bytes, a ping at least as many; what a longer one is filled with means nothing.
  static std::expected<ProbeBody, WireError> parse(ByteView plain);
  bool operator==(const ProbeBody&) const = default;
};

/// A pong and the smallest ping have this size, so answering amplifies nothing.
inline constexpr std::size_t kProbeSize = ProbeHeader::kSize + ProbeBody::kSize + 16;  // bytes
/// The longest ping, and the longest datagram of any kind on a direct path: jumbo frames of 9,000 bytes.
inline constexpr std::size_t kMaxProbeSize = 9000;

/// 16 bytes of address, IPv4 as ::ffff:a.b.c.d, and two of port.
inline constexpr std::size_t kEndpointSize = 18;
void write_endpoint(Writer& w, const Endpoint& endpoint);
Endpoint read_endpoint(Reader& r);

}  // namespace dh::wire
