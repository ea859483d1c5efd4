#pragma once

// The three datagrams of the handshake, each of one exact size. Spec: docs/protocol/handshake.md "Messages".
// Parsing checks size and constants; MACs and Noise parts are the session's business.

#include <cstdint>
#include <expected>

#include "base/bytes.hh"
#include "crypto/keys.hh"

namespace dh::wire {

inline constexpr std::uint8_t kHandshakeVersion = 1;
using HandshakeMac = ByteArray<16>;

/// Dialer to listener. Big-endian.
//   0       6           38     39        40             44        152     168    184
//   | magic | derp key  | 0xa1 | version | sender index | noise   | mac1  | mac2 |
struct HandshakeM1 {
  static constexpr std::size_t kNoiseSize = 108;           // e 32, s 32+16, timestamp 12+16
  static constexpr std::size_t kMac1At = 44 + kNoiseSize;  // mac1 covers everything before it
  static constexpr std::size_t kMac2At = kMac1At + 16;     // mac2 too, mac1 included
  static constexpr std::size_t kSize = kMac2At + 16;       // bytes on the wire
  static constexpr std::uint8_t kType = 0xa1;

  PublicKey initiator_derp;  // what a relay takes for a disco key
  std::uint32_t sender_index = 0;
  ByteArray<kNoiseSize> noise{};
  HandshakeMac mac1{};
  HandshakeMac mac2{};  // zero: no cookie yet

  /// The Noise message starts with the ephemeral key.
  PublicKey ephemeral() const { return PublicKey::from(std::span(noise).first<32>()); }
  Bytes serialize() const;
  static std::expected<HandshakeM1, WireError> parse(ByteView packet);
  bool operator==(const HandshakeM1&) const = default;
};

/// Listener to dialer.
//   0      1         2                6              10      58     74
//   | 0xa2 | version | receiver index | sender index | noise | mac1 |
struct HandshakeM2 {
  static constexpr std::size_t kNoiseSize = 48;  // e 32, empty payload 0+16
  static constexpr std::size_t kMac1At = 10 + kNoiseSize;
  static constexpr std::size_t kSize = kMac1At + 16;
  static constexpr std::uint8_t kType = 0xa2;

  std::uint32_t receiver_index = 0;
  std::uint32_t sender_index = 0;
  ByteArray<kNoiseSize> noise{};
  HandshakeMac mac1{};  // keyed by the initiator's static key: a relay cannot make one

  Bytes serialize() const;
  static std::expected<HandshakeM2, WireError> parse(ByteView packet);
  bool operator==(const HandshakeM2&) const = default;
};

/// Listener to dialer, under load, instead of M2.
//   0      1         2                6       30              62
//   | 0xa3 | version | receiver index | nonce | sealed cookie |
struct CookieReply {
  static constexpr std::size_t kSize = 62;
  static constexpr std::uint8_t kType = 0xa3;

  std::uint32_t receiver_index = 0;
  ByteArray<24> nonce{};
  ByteArray<32> sealed{};  // XChaCha20-Poly1305 of 16 bytes, the M1's mac1 as associated data

  Bytes serialize() const;
  static std::expected<CookieReply, WireError> parse(ByteView packet);
  bool operator==(const CookieReply&) const = default;
};

}  // namespace dh::wire
