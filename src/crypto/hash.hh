#pragma once

#include <initializer_list>
#include <string_view>

#include "base/bytes.hh"
#include "crypto/secret.hh"

namespace dh {

ByteArray<32> sha256(ByteView bytes);
/// Only for the WebSocket handshake (RFC 6455 §4.2.2), where nothing rests on it.
ByteArray<20> sha1(ByteView bytes);
ByteArray<64> sha512(std::initializer_list<ByteView> parts);
Secret<64> hmac_sha512(ByteView key, std::initializer_list<ByteView> parts);

/// Keyed BLAKE2b with a 16-byte result: the handshake's mac1 and mac2 (docs/protocol/handshake.md).
ByteArray<16> blake2b_mac(ByteView key, ByteView message);
/// Unkeyed BLAKE2b-256 over the concatenation of `parts`.
ByteArray<32> blake2b_256(std::initializer_list<ByteView> parts);

/// HKDF-Expand with SHA-512 (RFC 5869 §2.3) from a 64-byte secret, at most 64 bytes out.
template <std::size_t N>
Secret<N> hkdf_expand(const Secret<64>& secret, ByteView info) {
  static_assert(N <= 64);
  const std::byte one{1};
  const Secret<64> block = hmac_sha512(secret.expose(), {info, ByteView(&one, 1)});
  Secret<N> out;
  std::memcpy(out.uchar(), block.uchar(), N);
  return out;
}

/// Constant-time comparison of two public values that must not leak where they differ (MACs, cookies).
bool constant_time_equal(ByteView a, ByteView b);

}  // namespace dh
