#include <algorithm>

#include "crypto/aead_backend.hh"

namespace dh::detail {
namespace {

// Long enough for the widest loop of any implementation (48 blocks of AES at once) and an odd end.
constexpr std::size_t kPlainSize = 1371;
constexpr std::size_t kAadSize = 12;

constexpr std::byte pattern(std::size_t i) {
  return static_cast<std::byte>(i * 7 + 3);
}

// Two independent implementations agree on these.
constexpr std::string_view kTagAes128Gcm = "87adba4146a00f5949d5ea6be259691f";
constexpr std::string_view kTagAes256Gcm = "2f11597782801ea87c58923737183da0";
constexpr std::string_view kTagChaCha20Poly1305 = "1186ef1410e2dc75cfe87b04d85f5fa5";

bool gives_known_tag(std::string_view known, Aead& known_key) {
  const Aead::Nonce nonce = counter_nonce(0x0102030405060708);
  Bytes plain(kPlainSize);
  for (std::size_t i = 0; i < kPlainSize; ++i) plain[i] = pattern(i);
  const ByteView aad = ByteView(plain).first(kAadSize);

  // The tag covers what was computed; opening what was written covers that, too.
  Bytes sealed(kPlainSize + Aead::kTagSize);
  known_key.seal(nonce, aad, plain, sealed);
  const std::string tag = to_hex(ByteView(sealed).subspan(kPlainSize));
  if (tag != known) return false;
  Bytes opened(kPlainSize);
  if (!known_key.open(nonce, aad, sealed, opened) || opened != plain) return false;
  sealed[kPlainSize / 2] ^= std::byte{1};
  return !known_key.open(nonce, aad, sealed, opened) &&
         std::ranges::all_of(opened, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Secret<Aead::kKeySize> self_test_key() {
  Secret<Aead::kKeySize> key;
  for (std::size_t i = 0; i < Aead::kKeySize; ++i) key.expose_mutable()[i] = static_cast<std::byte>(i);
  return key;
}

Secret<kAes128KeySize> self_test_aes128_key() {
  Secret<kAes128KeySize> key;
  for (std::size_t i = 0; i < kAes128KeySize; ++i) key.expose_mutable()[i] = static_cast<std::byte>(i);
  return key;
}

bool passes_self_test(AeadKind kind, Aead& known_key) {
  return gives_known_tag(kind == AeadKind::Aes256Gcm ? kTagAes256Gcm : kTagChaCha20Poly1305, known_key);
}

// FIPS 197, appendix C.1: this key, and the block 00112233..ff.
bool passes_aes128_self_test(Aead& known_key, HeaderMask& known_mask_key) {
  ByteArray<HeaderMask::kSampleSize> block;
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(i * 0x11);
  return to_hex(known_mask_key.mask(block)) == "69c4e0d86a" && gives_known_tag(kTagAes128Gcm, known_key);
}

}  // namespace dh::detail
