// Text of strangers: what comes out is well-formed UTF-8 without anything that drives or deceives a terminal,
// is as long as it may be, changes no more when it is made printable again, and a shorter limit shows a
// beginning of the same. The first byte of the input is the limit.

#include <cstdint>
#include <cstdlib>

#include "base/printable.hh"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// A decoder of its own: one code point, or 0xffffffff.
std::uint32_t next(std::string_view& text) {
  const auto take = [&] {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    return std::uint32_t{byte};
  };
  const std::uint32_t first = take();
  if (first < 0x80) return first;
  const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  std::uint32_t code = first & (0x3fu >> more);
  for (int i = 0; i < more; ++i) {
    if (text.empty() || (static_cast<unsigned char>(text.front()) & 0xc0) != 0x80) return 0xffffffff;
    code = code << 6 | (take() & 0x3f);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  return first < 0xc0 || first > 0xf4 || code < kSmallest[more] || code > 0x10ffff ? 0xffffffff : code;
}

bool is_harmless(std::uint32_t code) {
  struct Range {
    std::uint32_t first, last;
  };
  // Controls, surrogates, and what has no width, turns the direction, or is no character.
  constexpr Range kNever[] = {{0, 0x1f},          {0x7f, 0x9f},          {0xad, 0xad},     {0x61c, 0x61c},
                              {0x180e, 0x180e},   {0x200b, 0x200f},      {0x2028, 0x202e}, {0x2060, 0x206f},
                              {0xd800, 0xdfff},   {0xfeff, 0xfeff},      {0xfff9, 0xfffb}, {0xfffe, 0xffff},
                              {0xe0001, 0xe007f}, {0x10fffe, 0xffffffff}};
  for (const Range& range : kNever)
    if (code >= range.first && code <= range.last) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t limit = data[0];
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);

  const std::string all = dh::printable(input, input.size());
  require(all.size() <= 4 * input.size());
  for (std::string_view rest = all; !rest.empty();) require(is_harmless(next(rest)));
  require(dh::printable(all, all.size()) == all);

  std::string cut = dh::printable(input, limit);
  if (input.size() <= limit) {
    require(cut == all);
  } else {
    require(cut.size() <= 4 * limit + 3 && cut.ends_with("..."));
    cut.resize(cut.size() - 3);
    require(all.starts_with(cut));
  }
  return 0;
}
