// Codes as people paste them: what parses must read back the same from its own text, in capitals and by four
// letters a word; what does not must have a sentence fit for a terminal; completions must lead towards a
// code.

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "session/code.hh"

namespace {

using namespace dh::session;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string shortened(const std::string& text) {
  std::string out;
  std::size_t letters = 0;
  for (const char c : text) {
    letters = c >= 'a' && c <= 'z' ? letters + 1 : 0;
    if (letters <= kWordPrefixLetters) out += c;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto code = parse_code(input);
  if (code) {
    const std::string text = format_code(*code);
    require(looks_like_code(text));
    std::string capitals = text;
    for (char& c : capitals) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    for (const std::string& way : {text, capitals, shortened(text)}) {
      const auto again = parse_code(way);
      require(again && *again == *code);
    }
  } else {
    const std::string& sentence = code.error().sentence;
    require(!sentence.empty() && sentence.size() < 300);
    require(std::all_of(sentence.begin(), sentence.end(),
                        [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; }));
  }
  for (const std::string& longer : complete_code(input, 4)) {
    require(longer.size() >= input.size());
    if (code) require(parse_code(longer).has_value());  // completing a good code leaves it one
  }
  return 0;
}
