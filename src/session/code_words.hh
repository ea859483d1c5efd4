#pragma once

// The 2,048 words that codes are made of: lower-case ASCII, sorted, 3 to 8 letters, told apart by their first
// four. They are BIP 39's English list (licence: LICENSES/code-words.txt).

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace dh::session {

inline constexpr std::size_t kCodeWords = 2048;       // 11 bits a word
inline constexpr std::size_t kWordPrefixLetters = 4;  // enough to tell any two words apart
inline constexpr std::size_t kMaxWordLetters = 8;

/// The list, in order.
const std::array<std::string_view, kCodeWords>& code_words();

/// The number of a word, or of the one that begins with these four or more letters. Lower case only.
std::optional<std::uint16_t> find_code_word(std::string_view word);
/// The word that was probably meant by a mistyped one: at most two letters wrong, missing, added or swapped.
std::optional<std::uint16_t> nearest_code_word(std::string_view word);
/// All words that begin with `prefix`, in order, at most `limit`.
std::vector<std::string_view> words_with_prefix(std::string_view prefix, std::size_t limit = kCodeWords);

}  // namespace dh::session
