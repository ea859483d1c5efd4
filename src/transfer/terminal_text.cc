#include "transfer/terminal_text.hh"

#include <algorithm>
#include <utf8proc.h>

namespace dh::transfer {
namespace {

constexpr std::string_view kMore = "...";

// The first character of `text`: its bytes and columns.
struct Character {
  std::size_t bytes = 1, columns = 1;
};
Character first_of(std::string_view text) {
  utf8proc_int32_t code = 0;
  const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &code);
  if (size <= 0) return {};
  return {static_cast<std::size_t>(size), static_cast<std::size_t>(std::max(0, utf8proc_charwidth(code)))};
}

void wrap_line(std::string_view line, std::size_t columns, std::string& out) {
  std::size_t used = 0;
  while (!line.empty()) {
    const std::size_t blanks = std::min(line.find_first_not_of(' '), line.size());
    const std::size_t end = std::min(line.find(' ', blanks), line.size());
    const std::size_t width = columns_of(line.substr(0, end));
    if (used > 0 && used + width > columns) {
      out += '\n';
      out += line.substr(blanks, end - blanks);
      used = width - blanks;
    } else {
      out += line.substr(0, end);
      used += width;
    }
    line.remove_prefix(end);
  }
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const Character first = first_of(text);
    columns += first.columns;
    text.remove_prefix(first.bytes);
  }
  return columns;
}

std::string shortened(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  const std::string_view more = kMore.substr(0, columns);
  std::size_t bytes = 0, used = more.size();
  while (true) {
    const Character next = first_of(text.substr(bytes));
    if (used + next.columns > columns) return std::string(text.substr(0, bytes)).append(more);
    used += next.columns;
    bytes += next.bytes;
  }
}

std::string wrapped(std::string_view text, std::size_t columns) {
  std::string out;
  while (true) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    wrap_line(text.substr(0, end), columns, out);
    if (end == text.size()) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace dh::transfer
