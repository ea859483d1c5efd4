#pragma once

// What the two ends of a code say to each other through a relay before they share a key: at most four
// messages each way. Parsing checks sizes and constants; tags are the cores' business.
// Spec: docs/protocol/code.md "Messages".

#include <cstdint>
#include <expected>
#include <variant>

#include "base/bytes.hh"
#include "crypto/cpace.hh"
#include "crypto/keys.hh"

namespace dh::wire {

inline constexpr std::uint8_t kCodeVersion = 1;
using CodeNonce = ByteArray<16>;

/// "Is anybody at this address?" Sent to a meeting key, and by a sender to its own. Wears the envelope that
/// makes a relay say when nobody is there.
//   0       6            38     39        40      56
//   | magic | sender key | 0xc0 | version | nonce | 8 zeros |
struct CodeRing {
  static constexpr std::uint8_t kType = 0xc0;
  static constexpr std::size_t kSize = 64;  // bytes; 62 and more look like discovery to a relay
  PublicKey sender;                         // the DERP key it comes from
  CodeNonce nonce{};
  bool operator==(const CodeRing&) const = default;
};
/// Receiver to sender, in the same envelope: "I have a code that leads here."
struct CodeHello {
  static constexpr std::uint8_t kType = 0xc1;
  static constexpr std::size_t kSize = 64;
  PublicKey sender;
  CodeNonce nonce{};
  bool operator==(const CodeHello&) const = default;
};
/// Sender to receiver. Says that a sender is here, and makes the receiver show that it gets what we send.
//   0      1         2         18        34
//   | 0xc2 | version | nonce r | nonce s | cookie 16 |
struct CodeCookie {
  static constexpr std::uint8_t kType = 0xc2;
  static constexpr std::size_t kSize = 50;
  CodeNonce receiver_nonce{};
  CodeNonce sender_nonce{};
  ByteArray<16> cookie{};
  bool operator==(const CodeCookie&) const = default;
};
/// Receiver to sender: its half of CPace.
//   0      1         2      6         22        38          54
//   | 0xc3 | version | caps | nonce r | nonce s | cookie 16 | point 32 |
struct CodeShareR {
  static constexpr std::uint8_t kType = 0xc3;
  static constexpr std::size_t kSize = 86;
  std::uint32_t capabilities = 0;
  CodeNonce receiver_nonce{};
  CodeNonce sender_nonce{};
  ByteArray<16> cookie{};
  CpacePoint point{};
  bool operator==(const CodeShareR&) const = default;
};
/// Sender to receiver: the other half. No tag yet: who asks must prove first.
//   0      1         2      6         22
//   | 0xc4 | version | caps | nonce s | point 32 |
struct CodeShareS {
  static constexpr std::uint8_t kType = 0xc4;
  static constexpr std::size_t kSize = 54;
  std::uint32_t capabilities = 0;
  CodeNonce sender_nonce{};
  CpacePoint point{};
  bool operator==(const CodeShareS&) const = default;
};
/// Receiver to sender: its one guess.
//   0      1         2         18
//   | 0xc5 | version | nonce s | tag 64 |
struct CodeProof {
  static constexpr std::uint8_t kType = 0xc5;
  static constexpr std::size_t kSize = 82;
  CodeNonce sender_nonce{};
  ByteArray<64> tag{};
  bool operator==(const CodeProof&) const = default;
};
/// Sender to receiver, when the guess was right: the sender's proof, and the sealed token.
//   0      1         2         18       82
//   | 0xc6 | version | nonce s | tag 64 | sealed 16 + n |
struct CodeGift {
  static constexpr std::uint8_t kType = 0xc6;
  static constexpr std::size_t kHeadSize = 82;
  static constexpr std::size_t kMaxSealed = 8192;  // bytes; the longest token has 5,465 characters
  CodeNonce sender_nonce{};
  ByteArray<64> tag{};
  Bytes sealed;
  bool operator==(const CodeGift&) const = default;
};
/// Sender to receiver: no. Not authenticated: it only spares the receiver its patience.
//   0      1         2         18
//   | 0xc7 | version | nonce s | reason |
struct CodeRefusal {
  static constexpr std::uint8_t kType = 0xc7;
  static constexpr std::size_t kSize = 19;
  enum class Reason : std::uint8_t {
    WrongCode = 1,  // the proof does not verify; the code may still be used
    Burnt = 2,      // nor will any other: too many wrong tries
    Used = 3,       // somebody else has got the token
  };
  CodeNonce sender_nonce{};
  Reason reason = Reason::WrongCode;
  bool operator==(const CodeRefusal&) const = default;
};

using CodeMsg =
    std::variant<CodeRing, CodeHello, CodeCookie, CodeShareR, CodeShareS, CodeProof, CodeGift, CodeRefusal>;

Bytes serialize(const CodeMsg& message);
/// Errors: BadMagic for what is none of these, BadValue for another version or an impossible field, Truncated
/// and TooLong for a wrong size.
std::expected<CodeMsg, WireError> parse_code_msg(ByteView packet);

}  // namespace dh::wire
