#include "base/printable.hh"

#include <cstdint>

namespace dh {
namespace {

// Length of the well-formed UTF-8 sequence at `text` (RFC 3629), or 0; the code point goes to `out`.
std::size_t decode_utf8(std::string_view text, std::uint32_t& out) {
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) {
    out = first;
    return 1;
  }
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  std::uint32_t value = first & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
  out = value;
  return size;
}

// Code points that move, hide or forge what stands beside them.
bool is_hostile(std::uint32_t c) {
  if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0)) return true;       // C0, DEL, C1
  if (c == 0xad || c == 0x61c || c == 0x180e || c == 0xfeff) return true;  // soft hyphen, ALM, MVS, BOM
  if (c >= 0x200b && c <= 0x200f) return true;                             // zero width, LRM, RLM
  if (c >= 0x2028 && c <= 0x202e) return true;                             // separators, bidi embeddings
  if (c >= 0x2060 && c <= 0x206f) return true;                             // invisible operators, isolates
  return (c >= 0xfff0 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff) || (c & 0xfffe) == 0xfffe;
}

void append_escaped(std::string& out, unsigned char byte) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\x";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

}  // namespace

std::string printable(std::string_view text, std::size_t max_bytes) {
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    std::uint32_t code = 0;
    const std::size_t size = decode_utf8(text, code);
    const std::size_t step = size == 0 ? 1 : size;
    if (used + step > max_bytes) {
      out += "...";
      break;
    }
    if (size == 0 || is_hostile(code)) {
      for (std::size_t i = 0; i < step; ++i) append_escaped(out, static_cast<unsigned char>(text[i]));
    } else {
      out.append(text.substr(0, step));
    }
    used += step;
    text.remove_prefix(step);
  }
  return out;
}

}  // namespace dh
