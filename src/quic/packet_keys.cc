#include "quic/packet_keys.hh"

#include <cstring>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string_view>

#include "base/check.hh"
#include "crypto/aead.hh"
#include "crypto/header_mask.hh"

namespace dh::quic {
namespace {

// ngtcp2's decrypt callback does not say whose packet it opens. So each thread counts, and whoever hands in a
// datagram looks whether that moved.
thread_local std::uint64_t opened_here = 0;

constexpr std::size_t kSecretBytes = 32;  // of the two ciphers' hash, SHA-256
// RFC 9001 §6.6: a key of AES may not seal more, and nobody may guess at a key more often.
constexpr std::uint64_t kMostAesPackets = std::uint64_t{1} << 23, kMostForgeries = std::uint64_t{1} << 52;

// GnuTLS's contexts and ours meet in the same callbacks, which get nothing but the context. Both are pointers
// to something aligned, so the lowest bit is free: it is set in ours.
constexpr std::uintptr_t kOurs = 1;

template <class Key>
void* ours(std::unique_ptr<Key> key) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(key.release()) | kOurs);
}

template <class Key>
Key* ours(void* handle) {
  const auto bits = reinterpret_cast<std::uintptr_t>(handle);
  return (bits & kOurs) == 0 ? nullptr : reinterpret_cast<Key*>(bits & ~kOurs);
}

ByteView view(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(bytes), size};
}

const Aead::Nonce& nonce_of(const std::uint8_t* bytes) {
  static_assert(alignof(Aead::Nonce) == 1);
  return *reinterpret_cast<const Aead::Nonce*>(bytes);
}

int seal(std::uint8_t* out, const ngtcp2_crypto_aead* aead, const ngtcp2_crypto_aead_ctx* context,
         const std::uint8_t* plain, std::size_t size, const std::uint8_t* nonce, std::size_t nonce_size,
         const std::uint8_t* aad, std::size_t aad_size) {
  Aead* own = ours<Aead>(context->native_handle);
  if (own == nullptr)
    return ngtcp2_crypto_encrypt_cb(out, aead, context, plain, size, nonce, nonce_size, aad, aad_size);
  CHECK(nonce_size == Aead::kNonceSize);
  own->seal(nonce_of(nonce), view(aad, aad_size), view(plain, size),
            {reinterpret_cast<std::byte*>(out), size + Aead::kTagSize});
  return 0;
}

int open(std::uint8_t* out, const ngtcp2_crypto_aead* aead, const ngtcp2_crypto_aead_ctx* context,
         const std::uint8_t* sealed, std::size_t size, const std::uint8_t* nonce, std::size_t nonce_size,
         const std::uint8_t* aad, std::size_t aad_size) {
  int result = 0;
  if (Aead* own = ours<Aead>(context->native_handle)) {
    CHECK(nonce_size == Aead::kNonceSize);
    const bool genuine =
        size >= Aead::kTagSize && own->open(nonce_of(nonce), view(aad, aad_size), view(sealed, size),
                                            {reinterpret_cast<std::byte*>(out), size - Aead::kTagSize});
    result = genuine ? 0 : NGTCP2_ERR_DECRYPT;
  } else {
    result = ngtcp2_crypto_decrypt_cb(out, aead, context, sealed, size, nonce, nonce_size, aad, aad_size);
  }
  if (result == 0) ++opened_here;
  return result;
}

int mask(std::uint8_t* out, const ngtcp2_crypto_cipher* cipher, const ngtcp2_crypto_cipher_ctx* context,
         const std::uint8_t* sample) {
  HeaderMask* own = ours<HeaderMask>(context->native_handle);
  if (own == nullptr) return ngtcp2_crypto_hp_mask_cb(out, cipher, context, sample);
  static_assert(HeaderMask::kMaskSize == NGTCP2_HP_MASKLEN && HeaderMask::kSampleSize == NGTCP2_HP_SAMPLELEN);
  const HeaderMask::Mask bytes =
      own->mask(HeaderMask::Sample(reinterpret_cast<const std::byte*>(sample), HeaderMask::kSampleSize));
  std::memcpy(out, bytes.data(), bytes.size());
  return 0;
}

void delete_aead(ngtcp2_conn* conn, ngtcp2_crypto_aead_ctx* context, void* user) {
  Aead* own = ours<Aead>(context->native_handle);
  if (own == nullptr) return ngtcp2_crypto_delete_crypto_aead_ctx_cb(conn, context, user);
  delete own;
  context->native_handle = nullptr;
}

void delete_mask(ngtcp2_conn* conn, ngtcp2_crypto_cipher_ctx* context, void* user) {
  HeaderMask* own = ours<HeaderMask>(context->native_handle);
  if (own == nullptr) return ngtcp2_crypto_delete_crypto_cipher_ctx_cb(conn, context, user);
  delete own;
  context->native_handle = nullptr;
}

// ---- where keys come from ---------------------------------------------------------------------------------

gnutls_cipher_algorithm_t cipher_of(const ngtcp2_crypto_ctx& crypto) {
  return static_cast<gnutls_cipher_algorithm_t>(reinterpret_cast<std::intptr_t>(crypto.aead.native_handle));
}

bool is_ours(const ngtcp2_crypto_ctx& crypto) {
  return cipher_of(crypto) == GNUTLS_CIPHER_AES_128_GCM ||
         cipher_of(crypto) == GNUTLS_CIPHER_CHACHA20_POLY1305;
}

// HKDF-Expand-Label (RFC 8446 §7.1).
void expand(const ngtcp2_crypto_ctx& crypto, const std::uint8_t* secret, std::string_view label,
            std::uint8_t* out, std::size_t size) {
  CHECK(ngtcp2_crypto_hkdf_expand_label(out, size, &crypto.md, secret, kSecretBytes,
                                        reinterpret_cast<const std::uint8_t*>(label.data()),
                                        label.size()) == 0);
}

template <std::size_t N>
Secret<N> expanded(const ngtcp2_crypto_ctx& crypto, const std::uint8_t* secret, std::string_view label) {
  Secret<N> out;
  expand(crypto, secret, label, out.uchar(), N);
  return out;
}

std::unique_ptr<Aead> packet_key(const ngtcp2_crypto_ctx& crypto, const std::uint8_t* secret,
                                 std::uint8_t* iv) {
  expand(crypto, secret, "quic iv", iv, Aead::kNonceSize);
  if (cipher_of(crypto) == GNUTLS_CIPHER_AES_128_GCM)
    return make_aes128_gcm(expanded<kAes128KeySize>(crypto, secret, "quic key"));
  return make_aead(AeadKind::ChaCha20Poly1305, expanded<Aead::kKeySize>(crypto, secret, "quic key"));
}

std::unique_ptr<HeaderMask> mask_key(const ngtcp2_crypto_ctx& crypto, const std::uint8_t* secret) {
  if (cipher_of(crypto) == GNUTLS_CIPHER_AES_128_GCM)
    return make_aes128_mask(expanded<kAes128KeySize>(crypto, secret, "quic hp"));
  return make_chacha20_mask(expanded<Aead::kKeySize>(crypto, secret, "quic hp"));
}

using Install = int (*)(ngtcp2_conn*, const std::uint8_t*, std::size_t, const ngtcp2_crypto_aead_ctx*,
                        const std::uint8_t*, std::size_t, const ngtcp2_crypto_cipher_ctx*);

int install(ngtcp2_conn* conn, const ngtcp2_crypto_ctx& crypto, const std::uint8_t* secret, Install into) {
  std::uint8_t iv[Aead::kNonceSize];
  ngtcp2_crypto_aead_ctx aead{ours(packet_key(crypto, secret, iv))};
  ngtcp2_crypto_cipher_ctx cipher{ours(mask_key(crypto, secret))};
  if (into(conn, secret, kSecretBytes, &aead, iv, sizeof iv, &cipher) == 0) return 0;  // it owns them now
  delete_aead(conn, &aead, nullptr);
  delete_mask(conn, &cipher, nullptr);
  return -1;
}

// GnuTLS has new secrets. Those of the handshake go where they would have gone without us.
int on_secrets(gnutls_session_t session, gnutls_record_encryption_level_t gnutls_level, const void* receiving,
               const void* sending, std::size_t size) {
  auto* ref = static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session));
  ngtcp2_conn* conn = ref->get_conn(ref);
  const ngtcp2_crypto_level level = ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level(gnutls_level);
  const auto* rx = static_cast<const std::uint8_t*>(receiving);
  const auto* tx = static_cast<const std::uint8_t*>(sending);
  const ngtcp2_crypto_ctx& crypto = *ngtcp2_conn_get_crypto_ctx(conn);
  if (level != NGTCP2_CRYPTO_LEVEL_APPLICATION || size != kSecretBytes || !is_ours(crypto)) {
    if (rx != nullptr &&
        ngtcp2_crypto_derive_and_install_rx_key(conn, nullptr, nullptr, nullptr, level, rx, size) != 0)
      return -1;
    return tx == nullptr
               ? 0
               : ngtcp2_crypto_derive_and_install_tx_key(conn, nullptr, nullptr, nullptr, level, tx, size);
  }
  // The limits came with the handshake's keys, and ngtcp2 counts.
  CHECK(cipher_of(crypto) != GNUTLS_CIPHER_AES_128_GCM || crypto.max_encryption <= kMostAesPackets);
  CHECK(crypto.max_encryption > 0 && crypto.max_decryption_failure <= kMostForgeries);
  if (rx != nullptr && install(conn, crypto, rx, ngtcp2_conn_install_rx_key) != 0) return -1;
  return tx == nullptr ? 0 : install(conn, crypto, tx, ngtcp2_conn_install_tx_key);
}

// RFC 9001 §6.1: the next secret from this one, a packet key from that; what hides headers stays.
int update(ngtcp2_conn* conn, std::uint8_t* rx_secret, std::uint8_t* tx_secret,
           ngtcp2_crypto_aead_ctx* rx_context, std::uint8_t* rx_iv, ngtcp2_crypto_aead_ctx* tx_context,
           std::uint8_t* tx_iv, const std::uint8_t* old_rx_secret, const std::uint8_t* old_tx_secret,
           std::size_t size, void* user) {
  const ngtcp2_crypto_ctx& crypto = *ngtcp2_conn_get_crypto_ctx(conn);
  if (size != kSecretBytes || !is_ours(crypto))
    return ngtcp2_crypto_update_key_cb(conn, rx_secret, tx_secret, rx_context, rx_iv, tx_context, tx_iv,
                                       old_rx_secret, old_tx_secret, size, user);
  expand(crypto, old_rx_secret, "quic ku", rx_secret, size);
  expand(crypto, old_tx_secret, "quic ku", tx_secret, size);
  rx_context->native_handle = ours(packet_key(crypto, rx_secret, rx_iv));
  tx_context->native_handle = ours(packet_key(crypto, tx_secret, tx_iv));
  return 0;
}

}  // namespace

void set_packet_callbacks(ngtcp2_callbacks& callbacks) {
  callbacks.encrypt = seal;
  callbacks.decrypt = open;
  callbacks.hp_mask = mask;
  callbacks.delete_crypto_aead_ctx = delete_aead;
  callbacks.delete_crypto_cipher_ctx = delete_mask;
  callbacks.update_key = ngtcp2_crypto_update_key_cb;
}

void use_own_packet_keys(gnutls_session_t session) {
  gnutls_handshake_set_secret_function(session, on_secrets);
}

void use_own_packet_keys(ngtcp2_callbacks& callbacks) {
  callbacks.update_key = update;
}

std::uint64_t opened_packets() {
  return opened_here;
}

}  // namespace dh::quic
