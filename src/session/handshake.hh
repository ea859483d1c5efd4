#pragma once

// The Noise_IKpsk2 handshake that roots all trust, and the gate in front of a listener.
// Spec: docs/protocol/handshake.md. Datagrams here are whole relay packets (or later UDP payloads).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/time.hh"
#include "crypto/keys.hh"
#include "session/token.hh"

namespace dh::session {

/// What the finished handshake hands to everybody else.
struct SessionKeys {
  Secret<64> exporter;  // HMAC-SHA512(ck, "dx exporter" || h): root of every other key, see export_key
  ByteArray<32> transcript_hash;  // binds verification strings; public
  std::uint32_t local_index = 0;  // first 4 header bytes of what the peer sends us
  std::uint32_t peer_index = 0;   // ... of what we send
  bool initiator = false;
};
/// HKDF-Expand of the exporter with a label; both ends get the same value.
Secret<64> export_key(const SessionKeys& keys, std::string_view label);

/// Why the listener turned a claim down; travels in M4. Each has its own sentence and exit status at the
/// dialer.
enum class RejectReason : std::uint8_t {
  AlreadyClaimed = 1,   // somebody else has the session                (exit 5)
  Expired = 2,          // the token's time is over                     (exit 5)
  WrongCapability = 3,  // this token is for another command            (exit 5)
  WrongVersion = 4,     // no common protocol version                   (exit 1)
  Declined = 5,         // a person said no                             (exit 3)
  Busy = 6,             // too many at once                             (exit 4)
};
std::string_view to_string(RejectReason reason);

/// The dialer's request, sealed in M3.
struct Claim {
  std::uint16_t protocol_version = 1;
  std::uint32_t capability = 0;
  std::uint64_t receive_window = 0;  // bytes, for streams towards the dialer
  std::uint8_t aead_kinds = 0;       // bit 0: AES-256-GCM with hardware, bit 1: ChaCha20-Poly1305
  bool operator==(const Claim&) const = default;
};
/// The listener's yes, sealed in M4.
struct ClaimAccepted {
  std::uint16_t protocol_version = 1;
  std::uint64_t receive_window = 0;
  std::uint8_t aead_kind = 0;  // an AeadKind
  bool operator==(const ClaimAccepted&) const = default;
};

}  // namespace dh::session
