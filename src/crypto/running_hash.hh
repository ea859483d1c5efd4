#pragma once

#include <sodium.h>

#include "base/bytes.hh"

namespace dh {

/// SHA-256 of everything fed so far, for data that is not in memory at once. A value: copy it to look at the
/// digest and go on.
class RunningSha256 {
public:
  RunningSha256();
  void update(ByteView bytes);
  ByteArray<32> digest() const;

private:
  crypto_hash_sha256_state state_{};
};

/// BLAKE2b-256, likewise.
class RunningBlake2b {
public:
  RunningBlake2b();
  void update(ByteView bytes);
  ByteArray<32> digest() const;

private:
  crypto_generichash_state state_{};
};

}  // namespace dh
