#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.hh"
#include "crypto/secret.hh"

namespace dh {

/// Which cipher a session uses; the number goes on the wire (docs/protocol/session.md, "Cipher").
enum class AeadKind : std::uint8_t {
  Aes256Gcm = 1,
  ChaCha20Poly1305 = 2,
};
std::string_view to_string(AeadKind kind);

/// One key of an authenticated cipher with 12-byte nonces and 16-byte tags (RFC 5116). A resource: the keyed
/// context is set up once, a packet costs only its nonce. Not shared between threads.
class Aead {
public:
  static constexpr std::size_t kKeySize = 32;    // bytes
  static constexpr std::size_t kNonceSize = 12;  // bytes
  static constexpr std::size_t kTagSize = 16;    // bytes
  using Nonce = ByteArray<kNonceSize>;

  virtual ~Aead() = default;
  /// Seals `plain` into `out`, which must be exactly plain.size() + kTagSize; `out` may start at `plain` (in
  /// place).
  virtual void seal(const Nonce& nonce, ByteView aad, ByteView plain, ByteSpan out) = 0;
  /// Opens `sealed` into `out`, exactly sealed.size() - kTagSize; in place allowed. false: forged, `out` is
  /// wiped.
  [[nodiscard]] virtual bool open(const Nonce& nonce, ByteView aad, ByteView sealed, ByteSpan out) = 0;
};

/// The nonce of a key whose packets are counted: four zero bytes, then the counter, big-endian.
inline Aead::Nonce counter_nonce(std::uint64_t counter) {
  Aead::Nonce nonce{};
  store_be64(nonce.data() + 4, counter);
  return nonce;
}

/// The best backend this machine has for `kind`.
std::unique_ptr<Aead> make_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);

/// True when this CPU has AES instructions, so that AES-256-GCM is the faster choice.
bool cpu_has_aes();

}  // namespace dh
