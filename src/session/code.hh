#pragma once

// Codes as people say and type them: `[region-]word-word-word-word`. Spec: docs/protocol/code.md "Text".

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.hh"
#include "session/code_words.hh"

namespace dh::session {

inline constexpr std::size_t kMeetingWords = 2;   // lead to the sender; a relay could find them out
inline constexpr std::size_t kMinCodeWords = 4;   // two more: 22 bits that only a try can test
inline constexpr std::size_t kMaxCodeWords = 12;  // what a person would still type
inline constexpr std::uint32_t kMaxCodeRegion = 999'999;

/// A code: where to meet, how to find each other there, and the secret. Wiped when it goes.
class Code {
public:
  /// CHECKs the number of words and that each is below kCodeWords. Region 0: no region is named.
  Code(std::uint32_t region, std::vector<std::uint16_t> words);
  Code(const Code&) = default;
  Code(Code&&) = default;
  Code& operator=(const Code&) = default;
  Code& operator=(Code&&) = default;
  ~Code();

  std::uint32_t region() const { return region_; }
  std::size_t size() const { return words_.size(); }
  /// `w1-w2`: may be guessed by enumeration, so nothing secret rests on it.
  std::string meeting_text() const;
  /// `w3-w4…`: never leaves this process but through CPace.
  std::string secret_text() const;
  bool operator==(const Code&) const = default;

private:
  std::uint32_t region_;
  std::vector<std::uint16_t> words_;
};

/// As it is printed.
std::string format_code(const Code& code);

enum class CodeTextError : std::uint8_t {
  Empty,
  UnknownWord,   // a word is not of the list: mistyped, or no code at all
  TooFewWords,   // not all of the code was typed
  TooManyWords,  // more than a code can have
  BadRegion,     // the number in front is no region's
};
struct CodeTextProblem {
  CodeTextError error;
  std::string sentence;  // for the person; fit for a terminal
};

/// Case, kind and number of separators (spaces, hyphens and what editors make of them) do not matter; four
/// letters of a word are enough. Nothing is sent anywhere: a typing error costs no try.
std::expected<Code, CodeTextProblem> parse_code(std::string_view text);

/// Whether a text is meant to be a code rather than a token: it has separators between words.
bool looks_like_code(std::string_view text);

/// For Tab: everything that `text` may become when its last word is completed, separator included while more
/// words must follow. Empty when nothing fits.
std::vector<std::string> complete_code(std::string_view text, std::size_t limit = 32);

/// Errors: none; `words` is brought within the bounds above.
Code draw_code(std::uint32_t region, std::size_t words, Rng& rng);

}  // namespace dh::session
