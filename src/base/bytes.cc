#include "base/bytes.hh"

namespace dh {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xedb88320u ^ (value >> 1) : value >> 1;
    table[i] = value;
  }
  return table;
}

constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = 0xff;
  for (std::size_t i = 0; i < kBase64Url.size(); ++i)
    values[static_cast<unsigned char>(kBase64Url[i])] = static_cast<std::uint8_t>(i);
  return values;
}

}  // namespace

std::string to_hex(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    out.push_back(kHexDigits[static_cast<std::size_t>(b) >> 4]);
    out.push_back(kHexDigits[static_cast<std::size_t>(b) & 15]);
  }
  return out;
}

std::optional<Bytes> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  Bytes out;
  out.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = hex_value(hex[i]);
    const int low = hex_value(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return out;
}

std::string to_base64url(ByteView bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t pending = 0;
  int bits = 0;
  for (std::byte b : bytes) {
    pending = (pending << 8 | static_cast<std::uint32_t>(b)) & 0xffff;
    bits += 8;
    for (; bits >= 6; bits -= 6) out.push_back(kBase64Url[pending >> (bits - 6) & 63]);
  }
  if (bits > 0) out.push_back(kBase64Url[pending << (6 - bits) & 63]);
  return out;
}

std::optional<Bytes> from_base64url(std::string_view text) {
  static constexpr auto kValues = make_base64_values();
  if (text.size() % 4 == 1) return std::nullopt;
  Bytes out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t pending = 0;
  int bits = 0;
  for (char c : text) {
    const std::uint8_t value = kValues[static_cast<unsigned char>(c)];
    if (value == 0xff) return std::nullopt;
    pending = (pending << 6 | value) & 0x3fff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<std::byte>(pending >> bits & 0xff));
    }
  }
  if ((pending & ((1u << bits) - 1)) != 0) return std::nullopt;
  return out;
}

std::uint32_t crc32(ByteView bytes) {
  static constexpr auto kTable = make_crc_table();
  std::uint32_t value = 0xffffffffu;
  for (std::byte b : bytes) value = kTable[(value ^ static_cast<std::uint32_t>(b)) & 0xff] ^ (value >> 8);
  return value ^ 0xffffffffu;
}

std::string_view to_string(WireError error) {
  switch (error) {
    case WireError::Truncated:
      return "truncated";
    case WireError::BadValue:
      return "bad value";
    case WireError::BadMagic:
      return "bad magic";
    case WireError::TooLong:
      return "too long";
    case WireError::BadChecksum:
      return "bad checksum";
  }
  return "unknown";
}

ByteView Reader::rest() {
  if (!ok_) return {};
  return bytes(rest_.size());
}

void Writer::u16(std::uint16_t value) {
  std::array<std::byte, 2> be;
  store_be(be.data(), value);
  bytes(be);
}

void Writer::u32(std::uint32_t value) {
  std::array<std::byte, 4> be;
  store_be32(be.data(), value);
  bytes(be);
}

void Writer::u64(std::uint64_t value) {
  std::array<std::byte, 8> be;
  store_be64(be.data(), value);
  bytes(be);
}

}  // namespace dh
