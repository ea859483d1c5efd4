#pragma once

#include <cstdint>
#include <string>

#include "crypto/running_hash.hh"

namespace dh::transfer {

/// --verify: both ends feed the digest of every file in the order of the manifest and show the same short
/// string, which two people can compare. Bound to this one session by a value from its
/// handshake, which nobody between the two can choose, and by both ends' nonces.
class CheckString {
public:
  CheckString(const ByteArray<32>& binding, const ByteArray<16>& sender_nonce,
              const ByteArray<16>& receiver_nonce);
  void file(std::uint32_t entry, const ByteArray<32>& sha256);
  /// `3f9a-07c2-b15e`
  std::string text() const;

private:
  RunningBlake2b hash_;
};

}  // namespace dh::transfer
