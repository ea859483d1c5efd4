#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dh {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using ByteSpan = std::span<std::byte>;

template <std::size_t N>
using ByteArray = std::array<std::byte, N>;

/// The bytes of a text, without copying. The view lives as long as the text.
inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline const unsigned char* as_uchar(ByteView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
inline unsigned char* as_uchar(ByteSpan bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}
inline Bytes to_bytes(ByteView view) {
  return {view.begin(), view.end()};
}

inline bool equal_bytes(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

/// Lower-case hex, two digits a byte.
std::string to_hex(ByteView bytes);
/// Accepts either case; nothing else (no spaces, no prefix). Errors: nullopt for an odd length or another
/// character.
std::optional<Bytes> from_hex(std::string_view hex);
/// As from_hex, into a fixed size; nullopt unless it has exactly N bytes.
template <std::size_t N>
std::optional<ByteArray<N>> array_from_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes || bytes->size() != N) return std::nullopt;
  ByteArray<N> out;
  std::memcpy(out.data(), bytes->data(), N);
  return out;
}

/// base64url without padding (RFC 4648 §5).
std::string to_base64url(ByteView bytes);
/// Errors: nullopt for a foreign character, padding, an impossible length, or non-zero spare bits.
std::optional<Bytes> from_base64url(std::string_view text);

/// CRC-32 (IEEE 802.3, as in zlib). Catches typing and truncation; proves nothing against an attacker.
std::uint32_t crc32(ByteView bytes);

/// Why bytes could not be read as a message.
enum class WireError : std::uint8_t {
  Truncated,    // ended before a field did
  BadValue,     // a field holds what the protocol does not allow
  BadMagic,     // not our message at all
  TooLong,      // longer than the protocol allows
  BadChecksum,  // checksum or fingerprint does not match
};
std::string_view to_string(WireError error);

/// Big-endian stores and loads: one swap, which compilers do not see in a loop over bytes.
template <std::unsigned_integral Number>
void store_be(std::byte* at, Number value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}
template <std::unsigned_integral Number>
Number load_be(const std::byte* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  return value;
}
inline void store_be32(std::byte* at, std::uint32_t value) {
  store_be(at, value);
}
inline void store_be64(std::byte* at, std::uint64_t value) {
  store_be(at, value);
}
inline std::uint32_t load_be32(const std::byte* at) {
  return load_be<std::uint32_t>(at);
}
inline std::uint64_t load_be64(const std::byte* at) {
  return load_be<std::uint64_t>(at);
}

/// Reads big-endian fields from a buffer it does not own. A short read yields zeros and marks the reader
/// bad for good, so one check at the end is enough.
class Reader {
public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  /// `size` bytes as a view into the buffer; empty when there are fewer.
  ByteView bytes(std::size_t size) {
    ok_ = ok_ && size <= rest_.size();
    if (!ok_) return {};
    const ByteView view = rest_.first(size);
    rest_ = rest_.subspan(size);
    return view;
  }
  /// Everything that is left.
  ByteView rest();
  template <std::size_t N>
  ByteArray<N> array() {
    ByteArray<N> out{};
    ByteView view = bytes(N);
    if (view.size() == N) std::memcpy(out.data(), view.data(), N);
    return out;
  }
  void skip(std::size_t size) { bytes(size); }

  std::size_t remaining() const { return rest_.size(); }
  bool ok() const { return ok_; }
  static WireError error() { return WireError::Truncated; }

private:
  template <std::unsigned_integral Number>
  Number number() {
    const ByteView view = bytes(sizeof(Number));
    return view.empty() ? Number{0} : load_be<Number>(view.data());
  }

  ByteView rest_;
  bool ok_ = true;
};

/// Appends big-endian fields to a buffer it does not own.
class Writer {
public:
  explicit Writer(Bytes& out) : out_(out) {}

  void u8(std::uint8_t value) { out_.push_back(static_cast<std::byte>(value)); }
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void u64(std::uint64_t value);
  void bytes(ByteView value) { out_.insert(out_.end(), value.begin(), value.end()); }
  void text(std::string_view value) { bytes(as_bytes(value)); }
  void zeros(std::size_t count) { out_.insert(out_.end(), count, std::byte{0}); }

private:
  Bytes& out_;
};

}  // namespace dh
