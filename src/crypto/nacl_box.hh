#pragma once

#include <optional>

#include "base/bytes.hh"
#include "crypto/keys.hh"

namespace dh {

/// NaCl crypto_box as DERP uses it: `nonce[24] || tag[16] || ciphertext`.
inline constexpr std::size_t kBoxNonceSize = 24;                 // bytes
inline constexpr std::size_t kBoxOverhead = kBoxNonceSize + 16;  // bytes added to the plain text

/// Seals with the given nonce, which must never repeat for a pair of keys. Errors: nullopt for a low-order
/// `to`.
std::optional<Bytes> box_seal(ByteView plain, const ByteArray<kBoxNonceSize>& nonce, const PublicKey& to,
                              const PrivateKey& from);
/// Opens `nonce || tag || ciphertext`. Errors: nullopt for anything that does not verify.
std::optional<Bytes> box_open(ByteView sealed, const PublicKey& from, const PrivateKey& to);

}  // namespace dh
