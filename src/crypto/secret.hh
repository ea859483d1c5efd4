#pragma once

#include <cstring>

#include <sodium.h>

#include "base/bytes.hh"

namespace dh {

/// N secret bytes: cannot be printed, is compared in constant time only, and wipes itself.
/// Copyable on purpose (keys are small values), but every copy is wiped by its own destructor.
template <std::size_t N>
class Secret {
public:
  Secret() { bytes_.fill(std::byte{0}); }
  explicit Secret(const ByteArray<N>& bytes) : bytes_(bytes) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret() { sodium_memzero(bytes_.data(), N); }

  /// The bytes, for the crypto library and for serialising a token. Nothing else should ask.
  std::span<const std::byte, N> expose() const { return bytes_; }
  std::span<std::byte, N> expose_mutable() { return bytes_; }
  const unsigned char* uchar() const { return reinterpret_cast<const unsigned char*>(bytes_.data()); }
  unsigned char* uchar() { return reinterpret_cast<unsigned char*>(bytes_.data()); }

  bool operator==(const Secret& other) const {
    return sodium_memcmp(bytes_.data(), other.bytes_.data(), N) == 0;
  }

private:
  ByteArray<N> bytes_;
};

}  // namespace dh
