#include "crypto/header_mask.hh"

#include <sodium.h>

#include "base/check.hh"
#include "crypto/aead_backend.hh"

namespace dh {
namespace {

class ChaCha20Mask final : public HeaderMask {
public:
  explicit ChaCha20Mask(const Secret<Aead::kKeySize>& key) : key_(key) {}

  // RFC 9001 §5.4.4: the block's number, little-endian, then the nonce.
  Mask mask(Sample sample) override {
    static constexpr unsigned char kZeroes[kMaskSize] = {};
    const unsigned char* bytes = as_uchar(ByteView(sample));
    const auto number = std::uint32_t{bytes[0]} | std::uint32_t{bytes[1]} << 8 |
                        std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 24;
    Mask out;
    crypto_stream_chacha20_ietf_xor_ic(as_uchar(ByteSpan(out)), kZeroes, kMaskSize, bytes + 4, number,
                                       key_.uchar());
    return out;
  }

private:
  Secret<Aead::kKeySize> key_;
};

}  // namespace

std::unique_ptr<HeaderMask> make_aes128_mask(const Secret<kAes128KeySize>& key, AeadBackend backend) {
  CHECK(is_available(backend));
  return backend == AeadBackend::IpsecMb ? detail::make_ipsec_mb_aes128_mask(key)
                                         : detail::make_openssl_aes128_mask(key);
}

std::unique_ptr<HeaderMask> make_aes128_mask(const Secret<kAes128KeySize>& key) {
  return make_aes128_mask(key, preferred_aead_backend());
}

std::unique_ptr<HeaderMask> make_chacha20_mask(const Secret<Aead::kKeySize>& key) {
  return std::make_unique<ChaCha20Mask>(key);
}

}  // namespace dh
