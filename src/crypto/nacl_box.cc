#include "crypto/nacl_box.hh"

#include <sodium.h>

namespace dh {

std::optional<Bytes> box_seal(ByteView plain, const ByteArray<kBoxNonceSize>& nonce, const PublicKey& to,
                              const PrivateKey& from) {
  Bytes out(kBoxOverhead + plain.size());
  std::memcpy(out.data(), nonce.data(), nonce.size());
  if (crypto_box_easy(as_uchar(ByteSpan(out).subspan(kBoxNonceSize)), as_uchar(plain), plain.size(),
                      as_uchar(ByteView(nonce)), as_uchar(ByteView(to.bytes)), from.uchar()) != 0) {
    return std::nullopt;
  }
  return out;
}

std::optional<Bytes> box_open(ByteView sealed, const PublicKey& from, const PrivateKey& to) {
  if (sealed.size() < kBoxOverhead) return std::nullopt;
  Bytes out(sealed.size() - kBoxOverhead);
  const ByteView cipher = sealed.subspan(kBoxNonceSize);
  if (crypto_box_open_easy(as_uchar(ByteSpan(out)), as_uchar(cipher), cipher.size(), as_uchar(sealed),
                           as_uchar(ByteView(from.bytes)), to.uchar()) != 0) {
    return std::nullopt;
  }
  return out;
}

}  // namespace dh
