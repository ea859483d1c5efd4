#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

/// Whose code does the work. All give the same bytes, so two ends need not agree on it.
enum class AeadBackend : std::uint8_t {
  Openssl,  // on every machine
  IpsecMb,  // Intel's multi-buffer library: x86-64 with AES-NI and AVX2, when built in
};
std::string_view to_string(AeadBackend backend);
/// The backend called `name` as to_string() calls it.
std::optional<AeadBackend> aead_backend_named(std::string_view name);

/// One key of an authenticated cipher with 12-byte nonces and 16-byte tags (RFC 5116). A resource: the keyed
/// context is set up once, a packet costs only its nonce. Not shared between threads; wipes its key when it
/// goes.
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

/// AES-128-GCM, which QUIC's packets are sealed with (RFC 9001 §5.3), from the preferred backend.
inline constexpr std::size_t kAes128KeySize = 16;  // bytes
std::unique_ptr<Aead> make_aes128_gcm(const Secret<kAes128KeySize>& key);
std::unique_ptr<Aead> make_aes128_gcm(const Secret<kAes128KeySize>& key, AeadBackend backend);

/// One key of `kind`, from the preferred backend.
std::unique_ptr<Aead> make_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);
/// The same from `backend`, which must be available: tests and benchmarks compare.
std::unique_ptr<Aead> make_aead(AeadKind kind, const Secret<Aead::kKeySize>& key, AeadBackend backend);

/// Built in, fit for this CPU, and right about one known message (tried once per process).
bool is_available(AeadBackend backend);
/// What make_aead() uses: the last prefer_aead_backend(), else the fastest that is available.
AeadBackend preferred_aead_backend();
/// The program's choice for the whole process, made before its first key. `backend` must be available.
void prefer_aead_backend(AeadBackend backend);

/// True when this CPU has AES instructions, so that AES is the faster choice.
bool cpu_has_aes();

}  // namespace dh
