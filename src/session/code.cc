#include "session/code.hh"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <sodium.h>

#include "base/check.hh"
#include "base/printable.hh"

namespace dh::session {
namespace {

constexpr std::size_t kMaxText = 512;  // bytes; twelve words, a region and generous separators

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Length of the separator at the front of `text`; 0: none. Chat programs turn hyphens into dashes
// (U+2010..U+2015) and spaces into U+00A0.
std::size_t separator_size(std::string_view text) {
  const unsigned char first = static_cast<unsigned char>(text.front());
  if (first <= ' ' || first == '-') return 1;
  if (text.starts_with("\xc2\xa0")) return 2;
  if (text.size() >= 3 && text.starts_with("\xe2\x80")) {
    const unsigned char third = static_cast<unsigned char>(text[2]);
    if (third >= 0x90 && third <= 0x95) return 3;
  }
  return 0;
}

// The parts between separators, in lower case.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  bool inside = false;
  while (!text.empty()) {
    if (const std::size_t size = separator_size(text); size > 0) {
      inside = false;
      text.remove_prefix(size);
      continue;
    }
    if (!inside) parts.emplace_back();
    inside = true;
    const char c = text.front();
    parts.back().push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    text.remove_prefix(1);
  }
  return parts;
}

bool ends_in_a_word(std::string_view text) {
  bool inside = false;
  while (!text.empty()) {
    const std::size_t size = separator_size(text);
    inside = size == 0;
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return inside;
}

std::string join(const std::vector<std::uint16_t>& words, std::size_t from, std::size_t to) {
  std::string text;
  for (std::size_t i = from; i < to; ++i) {
    if (!text.empty()) text += '-';
    text += code_words()[words[i]];
  }
  return text;
}

CodeTextProblem unknown_word(const std::string& word) {
  std::string sentence = fmt::format("`{}` is not a code word", printable(word, 24));
  if (const auto near = nearest_code_word(word))
    sentence += fmt::format("; did you mean `{}`?", code_words()[*near]);
  else
    sentence += "; check it on the other screen";
  return {CodeTextError::UnknownWord, std::move(sentence)};
}

std::optional<std::uint32_t> parse_region(std::string_view text) {
  std::uint32_t region = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), region);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (region == 0 || region > kMaxCodeRegion) return std::nullopt;
  return region;
}

}  // namespace

Code::Code(std::uint32_t region, std::vector<std::uint16_t> words)
    : region_(region), words_(std::move(words)) {
  CHECK(words_.size() >= kMinCodeWords && words_.size() <= kMaxCodeWords && region_ <= kMaxCodeRegion);
  for (const std::uint16_t word : words_) CHECK(word < kCodeWords);
}

Code::~Code() {
  sodium_memzero(words_.data(), words_.size() * sizeof words_[0]);
}

std::string Code::meeting_text() const {
  return join(words_, 0, kMeetingWords);
}

std::string Code::secret_text() const {
  return join(words_, kMeetingWords, words_.size());
}

std::string format_code(const Code& code) {
  const std::string words = code.meeting_text() + "-" + code.secret_text();
  return code.region() == 0 ? words : fmt::format("{}-{}", code.region(), words);
}

std::expected<Code, CodeTextProblem> parse_code(std::string_view text) {
  if (text.size() > kMaxText)
    return std::unexpected(
        CodeTextProblem{CodeTextError::TooManyWords, "that is too long for a code of a few words"});
  std::vector<std::string> parts = split(text);
  std::uint32_t region = 0;
  if (!parts.empty() && is_digit(parts.front().front())) {
    const auto number = parse_region(parts.front());
    if (!number)
      return std::unexpected(
          CodeTextProblem{CodeTextError::BadRegion,
                          fmt::format("a code cannot begin with `{}`", printable(parts.front(), 24))});
    region = *number;
    parts.erase(parts.begin());
  }
  if (parts.empty())
    return std::unexpected(
        CodeTextProblem{CodeTextError::Empty, "there are no words; a code has at least four"});
  std::vector<std::uint16_t> words;
  for (const std::string& part : parts) {
    const auto word = find_code_word(part);
    if (!word) return std::unexpected(unknown_word(part));
    words.push_back(*word);
  }
  if (words.size() < kMinCodeWords)
    return std::unexpected(CodeTextProblem{
        CodeTextError::TooFewWords,
        fmt::format("{} is too short; a code has at least four words",
                    words.size() == 1 ? std::string("one word") : fmt::format("{} words", words.size()))});
  if (words.size() > kMaxCodeWords)
    return std::unexpected(
        CodeTextProblem{CodeTextError::TooManyWords,
                        fmt::format("{} words are too many; a code has at most twelve", words.size())});
  return Code(region, std::move(words));
}

bool looks_like_code(std::string_view text) {
  const std::vector<std::string> parts = split(text.substr(0, kMaxText));
  if (parts.size() < 2) return false;
  // A token is one part, whatever its base64url holds: hyphens, but never without longer runs between them.
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    return part.size() <= 2 * kMaxWordLetters && (std::all_of(part.begin(), part.end(), is_digit) ||
                                                  !std::any_of(part.begin(), part.end(), is_digit));
  });
}

std::vector<std::string> complete_code(std::string_view text, std::size_t limit) {
  if (text.size() > kMaxText) return {};
  std::vector<std::string> parts = split(text);
  // What ends in a separator begins a new word.
  const std::string last = ends_in_a_word(text) ? parts.back() : std::string();
  if (!last.empty()) parts.pop_back();
  const std::string done(text.substr(0, text.size() - last.size()));
  std::size_t words_before = parts.size();
  if (!parts.empty() && is_digit(parts.front().front())) --words_before;
  if (words_before >= kMaxCodeWords || (!last.empty() && is_digit(last.front()))) return {};
  std::vector<std::string> out;
  for (const std::string_view word : words_with_prefix(last, limit))
    out.push_back(done + std::string(word) + (words_before + 1 < kMinCodeWords ? "-" : ""));
  return out;
}

Code draw_code(std::uint32_t region, std::size_t words, Rng& rng) {
  std::vector<std::uint16_t> numbers(std::clamp(words, kMinCodeWords, kMaxCodeWords));
  for (std::uint16_t& number : numbers) number = static_cast<std::uint16_t>(rng.below(kCodeWords));
  return Code(region, std::move(numbers));
}

}  // namespace dh::session
