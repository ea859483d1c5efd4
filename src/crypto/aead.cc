#include "crypto/aead.hh"

#include <atomic>

#include <sodium.h>

#include "base/check.hh"
#include "crypto/aead_backend.hh"
#include "crypto/seal_watch.hh"

namespace dh {
namespace {

// Once per process, whoever asks first.
bool ipsec_mb_works() {
  static const bool works = [] {
    if (!detail::ipsec_mb_suits()) return false;
    for (const AeadKind kind : {AeadKind::Aes256Gcm, AeadKind::ChaCha20Poly1305})
      if (!detail::passes_self_test(kind, *detail::make_ipsec_mb_aead(kind, detail::self_test_key())))
        return false;
    return detail::passes_aes128_self_test(
        *detail::make_ipsec_mb_aes128_gcm(detail::self_test_aes128_key()),
        *detail::make_ipsec_mb_aes128_mask(detail::self_test_aes128_key()));
  }();
  return works;
}

// Without OpenSSL there is nothing to fall back to: better to stop than to send what nobody can read.
bool openssl_works() {
  static const bool works = [] {
    for (const AeadKind kind : {AeadKind::Aes256Gcm, AeadKind::ChaCha20Poly1305})
      CHECK(detail::passes_self_test(kind, *detail::make_openssl_aead(kind, detail::self_test_key())));
    CHECK(detail::passes_aes128_self_test(*detail::make_openssl_aes128_gcm(detail::self_test_aes128_key()),
                                          *detail::make_openssl_aes128_mask(detail::self_test_aes128_key())));
    return true;
  }();
  return works;
}

// The one thing here that outlives a call: which backend a key gets is no business of the protocol cores that
// make keys. Zero: nobody chose.
std::atomic<int> chosen{0};

/// Tells the watcher, then does what the key below it does.
template <std::size_t KeySize>
class WatchedAead final : public Aead {
public:
  WatchedAead(std::unique_ptr<Aead> below, const Secret<KeySize>& key)
      : below_(std::move(below)), key_(key) {}
  void seal(const Nonce& nonce, ByteView aad, ByteView plain, ByteSpan out) override {
    note_seal(key_.expose(), nonce);
    below_->seal(nonce, aad, plain, out);
  }
  bool open(const Nonce& nonce, ByteView aad, ByteView sealed, ByteSpan out) override {
    return below_->open(nonce, aad, sealed, out);
  }

private:
  std::unique_ptr<Aead> below_;
  Secret<KeySize> key_;
};

template <std::size_t KeySize>
std::unique_ptr<Aead> watched(std::unique_ptr<Aead> aead, const Secret<KeySize>& key) {
  if (seal_watcher() == nullptr) return aead;
  return std::make_unique<WatchedAead<KeySize> >(std::move(aead), key);
}

}  // namespace

std::string_view to_string(AeadKind kind) {
  switch (kind) {
    case AeadKind::Aes256Gcm:
      return "aes-256-gcm";
    case AeadKind::ChaCha20Poly1305:
      return "chacha20-poly1305";
  }
  return "unknown";
}

std::string_view to_string(AeadBackend backend) {
  switch (backend) {
    case AeadBackend::Openssl:
      return "openssl";
    case AeadBackend::IpsecMb:
      return "ipsec-mb";
  }
  return "unknown";
}

std::optional<AeadBackend> aead_backend_named(std::string_view name) {
  for (const AeadBackend backend : {AeadBackend::Openssl, AeadBackend::IpsecMb})
    if (name == to_string(backend)) return backend;
  return std::nullopt;
}

bool is_available(AeadBackend backend) {
  return backend == AeadBackend::IpsecMb ? ipsec_mb_works() : openssl_works();
}

AeadBackend preferred_aead_backend() {
  if (const int choice = chosen.load(std::memory_order_relaxed); choice != 0)
    return static_cast<AeadBackend>(choice - 1);
  return ipsec_mb_works() ? AeadBackend::IpsecMb : AeadBackend::Openssl;
}

void prefer_aead_backend(AeadBackend backend) {
  CHECK(is_available(backend));
  chosen.store(static_cast<int>(backend) + 1, std::memory_order_relaxed);
}

std::unique_ptr<Aead> make_aead(AeadKind kind, const Secret<Aead::kKeySize>& key, AeadBackend backend) {
  CHECK(is_available(backend));
  return backend == AeadBackend::IpsecMb ? detail::make_ipsec_mb_aead(kind, key)
                                         : detail::make_openssl_aead(kind, key);
}

std::unique_ptr<Aead> make_aead(AeadKind kind, const Secret<Aead::kKeySize>& key) {
  return watched(make_aead(kind, key, preferred_aead_backend()), key);
}

std::unique_ptr<Aead> make_aes128_gcm(const Secret<kAes128KeySize>& key, AeadBackend backend) {
  CHECK(is_available(backend));
  return backend == AeadBackend::IpsecMb ? detail::make_ipsec_mb_aes128_gcm(key)
                                         : detail::make_openssl_aes128_gcm(key);
}

std::unique_ptr<Aead> make_aes128_gcm(const Secret<kAes128KeySize>& key) {
  return watched(make_aes128_gcm(key, preferred_aead_backend()), key);
}

bool cpu_has_aes() {
  return sodium_runtime_has_aesni() != 0;
}

}  // namespace dh
