#include "crypto/hash.hh"

#include <openssl/evp.h>
#include <sodium.h>

#include "base/check.hh"

namespace dh {

ByteArray<32> sha256(ByteView bytes) {
  ByteArray<32> out;
  crypto_hash_sha256(as_uchar(ByteSpan(out)), as_uchar(bytes), bytes.size());
  return out;
}

ByteArray<20> sha1(ByteView bytes) {
  ByteArray<20> out;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), as_uchar(ByteSpan(out)), nullptr, EVP_sha1(), nullptr) == 1);
  return out;
}

ByteArray<64> sha512(std::initializer_list<ByteView> parts) {
  crypto_hash_sha512_state state;
  crypto_hash_sha512_init(&state);
  for (ByteView part : parts) crypto_hash_sha512_update(&state, as_uchar(part), part.size());
  ByteArray<64> out;
  crypto_hash_sha512_final(&state, as_uchar(ByteSpan(out)));
  return out;
}

Secret<64> hmac_sha512(ByteView key, std::initializer_list<ByteView> parts) {
  crypto_auth_hmacsha512_state state;
  crypto_auth_hmacsha512_init(&state, as_uchar(key), key.size());
  for (ByteView part : parts) crypto_auth_hmacsha512_update(&state, as_uchar(part), part.size());
  Secret<64> out;
  crypto_auth_hmacsha512_final(&state, out.uchar());
  sodium_memzero(&state, sizeof state);
  return out;
}

ByteArray<16> blake2b_mac(ByteView key, ByteView message) {
  ByteArray<16> out;
  CHECK(crypto_generichash(as_uchar(ByteSpan(out)), out.size(), as_uchar(message), message.size(),
                           as_uchar(key), key.size()) == 0);
  return out;
}

ByteArray<32> blake2b_256(std::initializer_list<ByteView> parts) {
  crypto_generichash_state state;
  CHECK(crypto_generichash_init(&state, nullptr, 0, 32) == 0);
  for (ByteView part : parts) crypto_generichash_update(&state, as_uchar(part), part.size());
  ByteArray<32> out;
  crypto_generichash_final(&state, as_uchar(ByteSpan(out)), out.size());
  return out;
}

bool constant_time_equal(ByteView a, ByteView b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace dh
