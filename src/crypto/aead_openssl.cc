#include <openssl/evp.h>
#include <sodium.h>

#include "base/check.hh"
#include "crypto/aead_backend.hh"

namespace dh::detail {
namespace {

struct CipherDeleter {
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
};
struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

using Cipher = std::unique_ptr<EVP_CIPHER, CipherDeleter>;
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter>;

// OpenSSL's fetch walks its provider tables; once per process and cipher is enough.
const EVP_CIPHER* fetched(AeadKind kind) {
  static const Cipher aes(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  static const Cipher chacha(EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr));
  return kind == AeadKind::Aes256Gcm ? aes.get() : chacha.get();
}

const EVP_CIPHER* fetched_aes128_gcm() {
  static const Cipher aes(EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr));
  return aes.get();
}

const EVP_CIPHER* fetched_aes128_ecb() {
  static const Cipher aes(EVP_CIPHER_fetch(nullptr, "AES-128-ECB", nullptr));
  return aes.get();
}

class OpensslAead final : public Aead {
public:
  /// `key` has as many bytes as the cipher wants.
  OpensslAead(const EVP_CIPHER* cipher, const unsigned char* key)
      : seal_(EVP_CIPHER_CTX_new()), open_(EVP_CIPHER_CTX_new()) {
    CHECK(cipher != nullptr && seal_ && open_);
    CHECK(EVP_EncryptInit_ex2(seal_.get(), cipher, key, nullptr, nullptr) == 1);
    CHECK(EVP_DecryptInit_ex2(open_.get(), cipher, key, nullptr, nullptr) == 1);
  }

  void seal(const Nonce& nonce, ByteView aad, ByteView plain, ByteSpan out) override {
    CHECK(out.size() == plain.size() + kTagSize);
    int size = 0;
    unsigned char* cipher = as_uchar(out);
    unsigned char* tag = cipher + plain.size();
    bool ok = EVP_EncryptInit_ex2(seal_.get(), nullptr, nullptr, as_uchar(ByteView(nonce)), nullptr) == 1;
    if (!aad.empty())
      ok = ok &&
           EVP_EncryptUpdate(seal_.get(), nullptr, &size, as_uchar(aad), static_cast<int>(aad.size())) == 1;
    if (!plain.empty())
      ok = ok && EVP_EncryptUpdate(seal_.get(), cipher, &size, as_uchar(plain),
                                   static_cast<int>(plain.size())) == 1;
    ok = ok && EVP_EncryptFinal_ex(seal_.get(), tag, &size) == 1;
    ok = ok && EVP_CIPHER_CTX_ctrl(seal_.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
    CHECK(ok);
  }

  bool open(const Nonce& nonce, ByteView aad, ByteView sealed, ByteSpan out) override {
    if (sealed.size() < kTagSize) return false;
    const std::size_t plain_size = sealed.size() - kTagSize;
    CHECK(out.size() == plain_size);
    ByteArray<kTagSize> tag;
    std::memcpy(tag.data(), sealed.data() + plain_size, kTagSize);
    int size = 0;
    bool ok = EVP_DecryptInit_ex2(open_.get(), nullptr, nullptr, as_uchar(ByteView(nonce)), nullptr) == 1;
    ok = ok && EVP_CIPHER_CTX_ctrl(open_.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) == 1;
    if (!aad.empty())
      ok = ok &&
           EVP_DecryptUpdate(open_.get(), nullptr, &size, as_uchar(aad), static_cast<int>(aad.size())) == 1;
    if (plain_size != 0)
      ok = ok && EVP_DecryptUpdate(open_.get(), as_uchar(out), &size, as_uchar(sealed),
                                   static_cast<int>(plain_size)) == 1;
    unsigned char none[kTagSize];
    ok = ok && EVP_DecryptFinal_ex(open_.get(), none, &size) == 1;
    if (!ok && !out.empty()) sodium_memzero(out.data(), out.size());
    return ok;
  }

private:
  Context seal_, open_;
};

class OpensslAesMask final : public HeaderMask {
public:
  explicit OpensslAesMask(const Secret<kAes128KeySize>& key) : context_(EVP_CIPHER_CTX_new()) {
    CHECK(fetched_aes128_ecb() != nullptr && context_);
    CHECK(EVP_EncryptInit_ex2(context_.get(), fetched_aes128_ecb(), key.uchar(), nullptr, nullptr) == 1);
    CHECK(EVP_CIPHER_CTX_set_padding(context_.get(), 0) == 1);
  }

  Mask mask(Sample sample) override {
    unsigned char block[kSampleSize];
    int size = 0;
    CHECK(EVP_EncryptUpdate(context_.get(), block, &size, as_uchar(ByteView(sample)), kSampleSize) == 1);
    Mask out;
    std::memcpy(out.data(), block, out.size());
    return out;
  }

private:
  Context context_;
};

}  // namespace

std::unique_ptr<Aead> make_openssl_aead(AeadKind kind, const Secret<Aead::kKeySize>& key) {
  return std::make_unique<OpensslAead>(fetched(kind), key.uchar());
}

std::unique_ptr<Aead> make_openssl_aes128_gcm(const Secret<kAes128KeySize>& key) {
  return std::make_unique<OpensslAead>(fetched_aes128_gcm(), key.uchar());
}

std::unique_ptr<HeaderMask> make_openssl_aes128_mask(const Secret<kAes128KeySize>& key) {
  return std::make_unique<OpensslAesMask>(key);
}

}  // namespace dh::detail
