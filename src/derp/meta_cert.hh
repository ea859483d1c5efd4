#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.hh"
#include "crypto/keys.hh"

// The meta certificate: an extra, self-signed entry at the end of a relay's TLS chain that tells clients its
// DERP key, so that they can log in without waiting for it (fast start). docs/protocol/derp.md.
namespace dh::derp {

inline constexpr std::size_t kMetaCertSize = 359;  // bytes of DER; every field has a fixed size

struct MetaCertDates {
  UnixSeconds not_before;
  UnixSeconds not_after;
};

/// The DER of a meta certificate for `server`, signed with the Ed25519 key of `seed`, which should be random
/// and forgotten: nobody checks it. Dates outside 1950..2049 are clamped to what a UTCTime can say.
Bytes make_meta_cert(const PublicKey& server, const Secret<32>& seed, const MetaCertDates& dates);

/// The relay's key from a certificate's common name ("derpkey" and 64 hex digits) and serial number (the DERP
/// version, 1..255). Errors: nullopt for an ordinary certificate and for the all-zero key.
/// Says nothing about trust: believe it only in a chain that TLS 1.3 authenticated.
std::optional<PublicKey> parse_meta_cert_name(std::string_view common_name, std::uint64_t serial);

}  // namespace dh::derp
