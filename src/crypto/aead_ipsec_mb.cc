#include "crypto/aead_backend.hh"

#ifndef DERPHOLE_HAS_IPSEC_MB

namespace dh::detail {

bool ipsec_mb_suits() {
  return false;
}

std::unique_ptr<Aead> make_ipsec_mb_aead(AeadKind, const Secret<Aead::kKeySize>&) {
  return nullptr;
}

std::unique_ptr<Aead> make_ipsec_mb_aes128_gcm(const Secret<kAes128KeySize>&) {
  return nullptr;
}

std::unique_ptr<HeaderMask> make_ipsec_mb_aes128_mask(const Secret<kAes128KeySize>&) {
  return nullptr;
}

}  // namespace dh::detail

#else

#include <cstring>
#include <intel-ipsec-mb.h>

#include <sodium.h>

#include "base/check.hh"

namespace dh::detail {
namespace {

struct ManagerDeleter {
  void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
};

// One manager per process. The calls used here are its direct API: plain functions chosen for this CPU, which
// touch the key and the context given to them and the library's error number, which nobody reads after the
// set-up below. So any thread may call them, each with a key and context of its own. The manager's job queue,
// which is not thread-safe, is never used.
const IMB_MGR* manager() {
  static const std::unique_ptr<IMB_MGR, ManagerDeleter> only = [] {
    std::unique_ptr<IMB_MGR, ManagerDeleter> made(alloc_mb_mgr(0));
    if (made) init_mb_mgr_auto(made.get(), nullptr);
    if (made && imb_get_errno(made.get()) != 0) made.reset();
    return made;
  }();
  return only.get();
}

// The library refuses null pointers, also for no bytes at all.
unsigned char nothing[1];
const unsigned char* in(ByteView bytes) {
  return bytes.empty() ? nothing : as_uchar(bytes);
}
unsigned char* out_bytes(ByteSpan bytes) {
  return bytes.empty() ? nothing : as_uchar(bytes);
}

// A call it refuses leaves everything as it was, so what cannot be is stopped before: far below the ciphers'
// own limits (2^36 bytes), far above any datagram.
constexpr std::size_t kMaxMessage = std::size_t{1} << 31;

/// What the ciphers share; Cipher has seal(nonce, aad, in, out, size, tag), open() likewise, and wipes
/// itself.
template <class Cipher>
class IpsecMbAead final : public Aead {
public:
  explicit IpsecMbAead(const typename Cipher::Key& key) : cipher_(key) {}

  void seal(const Nonce& nonce, ByteView aad, ByteView plain, ByteSpan out) override {
    CHECK(out.size() == plain.size() + kTagSize && plain.size() <= kMaxMessage);
    const ByteSpan cipher = out.first(plain.size());
    cipher_.seal(as_uchar(ByteView(nonce)), aad, in(plain), out_bytes(cipher), plain.size(),
                 as_uchar(out.subspan(plain.size())));
  }

  bool open(const Nonce& nonce, ByteView aad, ByteView sealed, ByteSpan out) override {
    if (sealed.size() < kTagSize || sealed.size() > kMaxMessage) return false;
    const std::size_t plain_size = sealed.size() - kTagSize;
    CHECK(out.size() == plain_size);
    unsigned char tag[kTagSize];
    // In place, `out` ends where the sender's tag begins: it stays as it came.
    cipher_.open(as_uchar(ByteView(nonce)), aad, in(sealed.first(plain_size)), out_bytes(out), plain_size,
                 tag);
    static_assert(kTagSize == crypto_verify_16_BYTES);
    const bool genuine = crypto_verify_16(tag, as_uchar(sealed.subspan(plain_size))) == 0;
    // The tag that a forger would have needed is nobody's business.
    sodium_memzero(tag, sizeof tag);
    if (!genuine && !out.empty()) sodium_memzero(out.data(), out.size());
    return genuine;
  }

private:
  Cipher cipher_;
};

template <std::size_t KeySize>
class Gcm {
public:
  using Key = Secret<KeySize>;
  static constexpr bool kIs128 = KeySize == kAes128KeySize;
  static_assert(kIs128 || KeySize == Aead::kKeySize);

  explicit Gcm(const Key& key) {
    const auto expand = kIs128 ? imb_->gcm128_pre : imb_->gcm256_pre;
    expand(key.uchar(), &schedule_);
  }
  ~Gcm() {
    sodium_memzero(&schedule_, sizeof schedule_);
    sodium_memzero(&context_, sizeof context_);
  }
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;

  void seal(const unsigned char* nonce, ByteView aad, const unsigned char* plain, unsigned char* cipher,
            std::size_t size, unsigned char* tag) {
    const auto encrypt = kIs128 ? imb_->gcm128_enc : imb_->gcm256_enc;
    encrypt(&schedule_, &context_, cipher, plain, size, nonce, in(aad), aad.size(), tag, Aead::kTagSize);
  }
  void open(const unsigned char* nonce, ByteView aad, const unsigned char* cipher, unsigned char* plain,
            std::size_t size, unsigned char* tag) {
    const auto decrypt = kIs128 ? imb_->gcm128_dec : imb_->gcm256_dec;
    decrypt(&schedule_, &context_, plain, cipher, size, nonce, in(aad), aad.size(), tag, Aead::kTagSize);
  }

private:
  const IMB_MGR* imb_ = manager();
  gcm_key_data schedule_{};
  gcm_context_data context_{};
};

class ChaCha {
public:
  using Key = Secret<Aead::kKeySize>;

  explicit ChaCha(const Key& key) : key_(key) {}
  ~ChaCha() { sodium_memzero(&context_, sizeof context_); }
  ChaCha(const ChaCha&) = delete;
  ChaCha& operator=(const ChaCha&) = delete;

  void seal(const unsigned char* nonce, ByteView aad, const unsigned char* plain, unsigned char* cipher,
            std::size_t size, unsigned char* tag) {
    IMB_CHACHA20_POLY1305_INIT(imb_, key_.uchar(), &context_, nonce, in(aad), aad.size());
    IMB_CHACHA20_POLY1305_ENC_UPDATE(imb_, key_.uchar(), &context_, cipher, plain, size);
    IMB_CHACHA20_POLY1305_ENC_FINALIZE(imb_, &context_, tag, Aead::kTagSize);
  }
  void open(const unsigned char* nonce, ByteView aad, const unsigned char* cipher, unsigned char* plain,
            std::size_t size, unsigned char* tag) {
    IMB_CHACHA20_POLY1305_INIT(imb_, key_.uchar(), &context_, nonce, in(aad), aad.size());
    IMB_CHACHA20_POLY1305_DEC_UPDATE(imb_, key_.uchar(), &context_, plain, cipher, size);
    IMB_CHACHA20_POLY1305_DEC_FINALIZE(imb_, &context_, tag, Aead::kTagSize);
  }

private:
  const IMB_MGR* imb_ = manager();
  Key key_;
  chacha20_poly1305_context_data context_{};
};

/// One block of AES: CFB of zeroes, with the block in the place of the initialisation vector.
class IpsecMbAesMask final : public HeaderMask {
public:
  explicit IpsecMbAesMask(const Secret<kAes128KeySize>& key) {
    alignas(16) unsigned char for_decryption[sizeof schedule_];
    IMB_AES_KEYEXP_128(imb_, key.uchar(), schedule_, for_decryption);
    sodium_memzero(for_decryption, sizeof for_decryption);
  }
  ~IpsecMbAesMask() override { sodium_memzero(schedule_, sizeof schedule_); }

  Mask mask(Sample sample) override {
    static constexpr unsigned char kZeroes[kSampleSize] = {};
    alignas(16) unsigned char block[kSampleSize];
    IMB_AES128_CFB_ONE(imb_, block, kZeroes, as_uchar(ByteView(sample)), schedule_, sizeof block);
    Mask out;
    std::memcpy(out.data(), block, out.size());
    return out;
  }

private:
  const IMB_MGR* imb_ = manager();
  alignas(16) unsigned char schedule_[11 * 16];  // one round key before the ten rounds
};

}  // namespace

// With AES-NI and AVX2, sealing 1,372 bytes takes little more than half of OpenSSL 3.0's time even without
// VAES, because a call costs next to nothing (docs/performance.md). The SSE variants win less and lose where
// messages are long.
bool ipsec_mb_suits() {
  constexpr std::uint64_t kNeeded =
      IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_AVX2 | IMB_FEATURE_BMI2;
  return manager() != nullptr && (manager()->features & kNeeded) == kNeeded;
}

std::unique_ptr<Aead> make_ipsec_mb_aead(AeadKind kind, const Secret<Aead::kKeySize>& key) {
  if (!ipsec_mb_suits()) return nullptr;
  if (kind == AeadKind::Aes256Gcm) return std::make_unique<IpsecMbAead<Gcm<Aead::kKeySize> > >(key);
  return std::make_unique<IpsecMbAead<ChaCha> >(key);
}

std::unique_ptr<Aead> make_ipsec_mb_aes128_gcm(const Secret<kAes128KeySize>& key) {
  if (!ipsec_mb_suits()) return nullptr;
  return std::make_unique<IpsecMbAead<Gcm<kAes128KeySize> > >(key);
}

std::unique_ptr<HeaderMask> make_ipsec_mb_aes128_mask(const Secret<kAes128KeySize>& key) {
  if (!ipsec_mb_suits()) return nullptr;
  return std::make_unique<IpsecMbAesMask>(key);
}

}  // namespace dh::detail

#endif
