#include "crypto/running_hash.hh"

#include "base/check.hh"

namespace dh {

RunningSha256::RunningSha256() {
  crypto_hash_sha256_init(&state_);
}

void RunningSha256::update(ByteView bytes) {
  crypto_hash_sha256_update(&state_, as_uchar(bytes), bytes.size());
}

ByteArray<32> RunningSha256::digest() const {
  crypto_hash_sha256_state copy = state_;
  ByteArray<32> out;
  crypto_hash_sha256_final(&copy, as_uchar(ByteSpan(out)));
  return out;
}

RunningBlake2b::RunningBlake2b() {
  CHECK(crypto_generichash_init(&state_, nullptr, 0, 32) == 0);
}

void RunningBlake2b::update(ByteView bytes) {
  crypto_generichash_update(&state_, as_uchar(bytes), bytes.size());
}

ByteArray<32> RunningBlake2b::digest() const {
  crypto_generichash_state copy = state_;
  ByteArray<32> out;
  crypto_generichash_final(&copy, as_uchar(ByteSpan(out)), out.size());
  return out;
}

}  // namespace dh
