#pragma once

// What the two ends of the Noise_IKpsk2 handshake share: keys, labels, claims.
// Spec: docs/protocol/handshake.md. Datagrams here are whole relay packets (or later UDP payloads).

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.hh"
#include "crypto/keys.hh"
#include "crypto/noise.hh"
#include "session/token.hh"
#include "wire/handshake_msg.hh"
#include "wire/session_msg.hh"

namespace dh::session {

using wire::Claim;
using wire::ClaimAccepted;
using wire::RejectReason;
using wire::to_string;

/// The session protocol this program speaks; a claim with another one is turned down with WrongVersion.
inline constexpr std::uint16_t kProtocolVersion = 1;

/// What the finished handshake hands to everybody else.
struct SessionKeys {
  Secret<64> exporter;  // HMAC-SHA512(ck, "dx exporter" || h): root of every other key, see export_key
  ByteArray<32> transcript_hash{};  // first half of h; binds verification strings; public
  std::uint32_t local_index = 0;    // receiver index of what the peer sends us
  std::uint32_t peer_index = 0;     // ... of what we send
  bool initiator = false;
};
/// HKDF-Expand of the exporter with a label; both ends get the same value.
Secret<64> export_key(const SessionKeys& keys, std::string_view label);

/// What both ends must agree on before the first key: a difference makes M1 unreadable.
Bytes handshake_prologue(const Token& token, const PublicKey& initiator_derp, std::string_view relay_name);
/// "IKpsk2" with this prologue.
NoiseHandshake make_initiator_noise(const Token& token, const KeyPair& throwaway,
                                    const PublicKey& initiator_derp, std::string_view relay_name);
NoiseHandshake make_responder_noise(const Token& token, const KeyPair& noise_static,
                                    const PublicKey& initiator_derp, std::string_view relay_name);
/// From a finished handshake.
SessionKeys session_keys(const NoiseHandshake& noise, std::uint32_t local_index, std::uint32_t peer_index,
                         bool initiator);

/// M1's sealed payload: grows with every attempt of one dialer.
struct HandshakeTime {
  static constexpr std::size_t kSize = 12;  // bytes
  std::uint64_t wall_seconds = 0;
  std::uint32_t attempt = 0;
  Bytes serialize() const;
  static std::expected<HandshakeTime, WireError> parse(ByteView bytes);
  auto operator<=>(const HandshakeTime&) const = default;
};

/// Key for mac1 of messages to the holder of `receiver_static`: BLAKE2b-256("mac1" || key).
ByteArray<32> mac1_key(const PublicKey& receiver_static);
/// Key for sealing cookies to those who know `listener_static`: BLAKE2b-256("cookie" || key).
ByteArray<32> cookie_key(const PublicKey& listener_static);

}  // namespace dh::session
