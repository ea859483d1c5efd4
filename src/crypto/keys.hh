#pragma once

#include <compare>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "crypto/secret.hh"

namespace dh {

/// A Curve25519 public key: a DERP routing key ("node key") or a Noise static or ephemeral key.
struct PublicKey {
  ByteArray<32> bytes{};

  static PublicKey from(std::span<const std::byte, 32> view);
  /// 64 hex digits, with or without the `nodekey:` prefix (facts of the DERP protocol: both occur).
  static std::optional<PublicKey> parse(std::string_view text);
  std::string to_hex() const { return dh::to_hex(bytes); }
  /// `[` + five characters of base64 + `]`, as relays log it.
  std::string short_name() const;
  bool is_zero() const;
  auto operator<=>(const PublicKey&) const = default;
};

/// For hash maps keyed by peers: the bytes of an honest key are uniform; `salt` keeps dishonest ones from
/// colliding.
struct PublicKeyHash {
  std::size_t operator()(const PublicKey& key) const noexcept;
};

using PrivateKey = Secret<32>;
using SharedKey = Secret<32>;

/// A Curve25519 key pair. The private key is clamped (RFC 7748 §5).
struct KeyPair {
  PrivateKey secret;
  PublicKey pub;

  static KeyPair generate(Rng& rng);
  static KeyPair from_private(const PrivateKey& secret);
};

/// X25519. Errors: nullopt when the result is all zero (a low-order point, RFC 7748 §6.1).
std::optional<SharedKey> x25519(const PrivateKey& secret, const PublicKey& pub);

/// Must run once before anything else here; safe to repeat. CHECKs that libsodium is usable.
void crypto_init();

}  // namespace dh
