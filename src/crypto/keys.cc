#include "crypto/keys.hh"

#include <algorithm>

#include <sodium.h>

#include "base/check.hh"

namespace dh {

PublicKey PublicKey::from(std::span<const std::byte, 32> view) {
  PublicKey key;
  std::copy(view.begin(), view.end(), key.bytes.begin());
  return key;
}

std::optional<PublicKey> PublicKey::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "nodekey:";
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  const auto bytes = array_from_hex<32>(text);
  if (!bytes) return std::nullopt;
  return PublicKey{*bytes};
}

std::string PublicKey::short_name() const {
  // Standard base64 of the first 30 bits; '-' and '_' of base64url are '+' and '/' there.
  std::string text = to_base64url(ByteView(bytes).first(4)).substr(0, 5);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  return "[" + text + "]";
}

bool PublicKey::is_zero() const {
  return sodium_is_zero(as_uchar(ByteView(bytes)), bytes.size()) == 1;
}

std::size_t PublicKeyHash::operator()(const PublicKey& key) const noexcept {
  // Keyed per process, so nobody can prepare keys that share a bucket.
  static const auto salt = [] {
    std::array<unsigned char, crypto_shorthash_KEYBYTES> bytes;
    randombytes_buf(bytes.data(), bytes.size());
    return bytes;
  }();
  std::uint64_t hash = 0;
  crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), as_uchar(ByteView(key.bytes)), key.bytes.size(),
                   salt.data());
  return static_cast<std::size_t>(hash);
}

KeyPair KeyPair::generate(Rng& rng) {
  PrivateKey secret;
  rng.fill(secret.expose_mutable());
  return from_private(secret);
}

KeyPair KeyPair::from_private(const PrivateKey& secret) {
  KeyPair pair{secret, {}};
  unsigned char* bytes = pair.secret.uchar();
  bytes[0] &= 248;
  bytes[31] = static_cast<unsigned char>((bytes[31] & 127) | 64);
  CHECK(crypto_scalarmult_base(as_uchar(ByteSpan(pair.pub.bytes)), pair.secret.uchar()) == 0);
  return pair;
}

std::optional<SharedKey> x25519(const PrivateKey& secret, const PublicKey& pub) {
  SharedKey shared;
  if (crypto_scalarmult(shared.uchar(), secret.uchar(), as_uchar(ByteView(pub.bytes))) != 0)
    return std::nullopt;
  return shared;
}

void crypto_init() {
  CHECK(sodium_init() >= 0);
}

}  // namespace dh
