#include "session/code.hh"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace dh::session {
namespace {

std::string parsed(std::string_view text) {
  const auto code = parse_code(text);
  return code ? format_code(*code) : "(" + code.error().sentence + ")";
}

CodeTextError error_of(std::string_view text) {
  const auto code = parse_code(text);
  EXPECT_FALSE(code);
  return code ? CodeTextError::Empty : code.error().error;
}

TEST(CodeWords, Are2048SortedLowerCaseAsciiWords) {
  const auto& words = code_words();
  EXPECT_EQ(words.size(), 2048u);
  EXPECT_EQ(words.front(), "abandon");
  EXPECT_EQ(words.back(), "zoo");
  EXPECT_TRUE(std::is_sorted(words.begin(), words.end()));
  for (const std::string_view word : words) {
    EXPECT_TRUE(word.size() >= 3 && word.size() <= kMaxWordLetters) << word;
    EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; })) << word;
  }
}

TEST(CodeWords, HaveUniqueFourLetterPrefixes) {
  std::set<std::string_view> prefixes;
  for (const std::string_view word : code_words()) prefixes.insert(word.substr(0, kWordPrefixLetters));
  EXPECT_EQ(prefixes.size(), kCodeWords);
}

TEST(CodeWords, AreFoundWholeOrByFourLetters) {
  for (std::size_t i = 0; i < kCodeWords; ++i) {
    const std::string_view word = code_words()[i];
    EXPECT_EQ(find_code_word(word), i);
    EXPECT_EQ(find_code_word(word.substr(0, kWordPrefixLetters)), i) << word;
  }
  EXPECT_EQ(find_code_word("aban"), 0u);
  EXPECT_EQ(find_code_word("abando"), 0u);
  EXPECT_FALSE(find_code_word("aba"));
  EXPECT_FALSE(find_code_word("abandons"));
  EXPECT_FALSE(find_code_word("zzzz"));
  EXPECT_FALSE(find_code_word(""));
}

TEST(CodeText, IsReadInAnyCaseAndWithAnySeparators) {
  const std::string good = "abandon-ability-able-zoo";
  EXPECT_EQ(parsed(good), good);
  EXPECT_EQ(parsed("  Abandon ABILITY\table - zoo \n"), good);
  EXPECT_EQ(parsed("aban abil able zoo"), good);
  EXPECT_EQ(parsed("abandon\xe2\x80\x93"
                   "ability\xc2\xa0"
                   "able\xe2\x80\x91zoo"),
            good);
  EXPECT_EQ(parsed("12-" + good), "12-" + good);
  EXPECT_EQ(parsed("12 " + good), "12-" + good);
  EXPECT_EQ(parsed(good + "-zone-zero"), good + "-zone-zero");
}

TEST(CodeText, SplitsWordsIntoMeetingAndSecret) {
  const auto code = parse_code("7-abandon-ability-able-zoo-zone");
  ASSERT_TRUE(code);
  EXPECT_EQ(code->region(), 7u);
  EXPECT_EQ(code->meeting_text(), "abandon-ability");
  EXPECT_EQ(code->secret_text(), "able-zoo-zone");
}

TEST(CodeText, SuggestsTheNearestWordForAMistypedOne) {
  EXPECT_EQ(parsed("aple-ability-able-zoo"), "(`aple` is not a code word; did you mean `apple`?)");
  EXPECT_EQ(parsed("abandon-abiilty-able-zoo"), "(`abiilty` is not a code word; did you mean `ability`?)");
  EXPECT_EQ(parsed("abandon-ability-able-zooo"), "(`zooo` is not a code word; did you mean `zoo`?)");
  EXPECT_EQ(parsed("xqxqxqxq a b c"), "(`xqxqxqxq` is not a code word; check it on the other screen)");
}

TEST(CodeText, AWordWithOneLetterMissingIsNeverMoreThanOneAway) {
  for (std::size_t i = 0; i < kCodeWords; i += 37) {
    std::string word(code_words()[i]);
    if (word.size() < 5) continue;
    word.erase(word.begin() + 1);
    const auto found = find_code_word(word);
    EXPECT_TRUE(found || nearest_code_word(word)) << word;
  }
}

TEST(CodeText, TellsWhatIsWrong) {
  EXPECT_EQ(error_of(""), CodeTextError::Empty);
  EXPECT_EQ(error_of("--"), CodeTextError::Empty);
  EXPECT_EQ(error_of("12"), CodeTextError::Empty);
  EXPECT_EQ(error_of("abandon-ability-able"), CodeTextError::TooFewWords);
  EXPECT_EQ(error_of("0-abandon-ability-able-zoo"), CodeTextError::BadRegion);
  EXPECT_EQ(error_of("99999999999-abandon-ability-able-zoo"), CodeTextError::BadRegion);
  EXPECT_EQ(error_of("1x-abandon-ability-able-zoo"), CodeTextError::BadRegion);
  EXPECT_EQ(error_of("abandon-1-ability-able-zoo"), CodeTextError::UnknownWord);
  std::string many = "zoo";
  for (int i = 0; i < 12; ++i) many += "-zoo";
  EXPECT_EQ(error_of(many), CodeTextError::TooManyWords);
  EXPECT_EQ(error_of(std::string(5000, 'a')), CodeTextError::TooManyWords);
}

TEST(CodeText, NeverPutsControlCharactersIntoASentence) {
  const auto code = parse_code("\x1b[31mred-a-b-c");
  ASSERT_FALSE(code);
  EXPECT_EQ(code.error().sentence.find('\x1b'), std::string::npos);
}

TEST(CodeText, IsToldFromAToken) {
  EXPECT_TRUE(looks_like_code("12-abandon-ability-able-zoo"));
  EXPECT_TRUE(looks_like_code("aple pie"));
  EXPECT_FALSE(looks_like_code("dh1AQBbgRD6vGRUhzmYF-a6pIhkDe7X5vWlH8xQ-S1tXg"));
  EXPECT_FALSE(looks_like_code("dh1abcdef"));
  EXPECT_FALSE(looks_like_code(""));
}

TEST(CodeText, CompletesTheLastWord) {
  EXPECT_EQ(complete_code("abando"), std::vector<std::string>{"abandon-"});
  EXPECT_EQ(complete_code("12-abandon-abil"), std::vector<std::string>{"12-abandon-ability-"});
  EXPECT_EQ(complete_code("abandon ability able zo"),
            (std::vector<std::string>{"abandon ability able zone", "abandon ability able zoo"}));
  EXPECT_EQ(complete_code("abandon-ZO"), (std::vector<std::string>{"abandon-zone-", "abandon-zoo-"}));
  EXPECT_EQ(complete_code("", 3).size(), 3u);
  EXPECT_EQ(complete_code("abandon\xe2\x80\x93zoo\xe2\x80\x93", 1),
            std::vector<std::string>{"abandon\xe2\x80\x93zoo\xe2\x80\x93"
                                     "abandon-"});
  EXPECT_EQ(complete_code("zoo\n", 1), std::vector<std::string>{"zoo\nabandon-"});
  EXPECT_TRUE(complete_code("abandon-xx").empty());
  EXPECT_TRUE(complete_code("12").empty());
}

TEST(CodeText, DrawnCodesHaveTheWordsAskedForAndReadBack) {
  SeededRng rng(1);
  for (std::size_t words : {0u, 4u, 6u, 12u, 99u}) {
    const Code code = draw_code(words == 6 ? 12 : 0, words, rng);
    EXPECT_EQ(code.size(), std::clamp<std::size_t>(words, 4, 12));
    const auto again = parse_code(format_code(code));
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, code);
  }
  EXPECT_FALSE(draw_code(0, 4, rng) == draw_code(0, 4, rng));
}

}  // namespace
}  // namespace dh::session
