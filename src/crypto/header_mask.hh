#pragma once

#include <memory>

#include "crypto/aead.hh"

namespace dh {

/// One key that hides what a QUIC packet's header says about its number (RFC 9001 §5.4). A resource: the key
/// is set up once. Not shared between threads; wipes its key when it goes.
class HeaderMask {
public:
  static constexpr std::size_t kSampleSize = 16;  // bytes
  static constexpr std::size_t kMaskSize = 5;     // bytes
  using Sample = std::span<const std::byte, kSampleSize>;
  using Mask = ByteArray<kMaskSize>;

  virtual ~HeaderMask() = default;
  /// What a header is XORed with, from a sample of the sealed packet behind it.
  virtual Mask mask(Sample sample) = 0;
};

/// For packets sealed with AES-128-GCM, from the preferred backend.
std::unique_ptr<HeaderMask> make_aes128_mask(const Secret<kAes128KeySize>& key);
std::unique_ptr<HeaderMask> make_aes128_mask(const Secret<kAes128KeySize>& key, AeadBackend backend);
/// For packets sealed with ChaCha20-Poly1305.
std::unique_ptr<HeaderMask> make_chacha20_mask(const Secret<Aead::kKeySize>& key);

}  // namespace dh
