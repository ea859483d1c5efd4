#include "crypto/nacl_box.hh"

#include <sodium.h>

#include "crypto/seal_watch.hh"

namespace dh {

std::optional<Bytes> box_seal(ByteView plain, const ByteArray<kBoxNonceSize>& nonce, const PublicKey& to,
                              const PrivateKey& from) {
  Bytes out(kBoxOverhead + plain.size());
  std::memcpy(out.data(), nonce.data(), nonce.size());
  if (seal_watcher() != nullptr) {  // the key is that of both directions; nobody else wants to see it
    Secret<crypto_box_BEFORENMBYTES> key;
    if (crypto_box_beforenm(key.uchar(), as_uchar(ByteView(to.bytes)), from.uchar()) == 0)
      note_seal(key.expose(), nonce);
  }
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
