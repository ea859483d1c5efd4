#include "session/code_prompt.hh"

#include <gtest/gtest.h>

#include "session/code_words.hh"

namespace dh::session {
namespace {

std::string type(CodePrompt& prompt, std::string_view keys) {
  std::string shown;
  for (const char key : keys) shown += prompt.on_key(key);
  return shown;
}

TEST(CodePrompt, ShowsWhatIsTypedAndEndsWithEnter) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "abandon-ab"), "abandon-ab");
  EXPECT_EQ(prompt.state(), CodePrompt::State::Typing);
  EXPECT_EQ(type(prompt, "\r"), "\r\n");
  EXPECT_EQ(prompt.state(), CodePrompt::State::Done);
  EXPECT_EQ(prompt.text(), "abandon-ab");
  EXPECT_EQ(type(prompt, "more"), "");
  EXPECT_EQ(prompt.text(), "abandon-ab");
}

TEST(CodePrompt, TabCompletesTheLastWordAndPutsTheSeparator) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "aban\t"), "aban\r\x1b[KCode: abandon-");
  EXPECT_EQ(type(prompt, "zoo\t"), "zoo\r\x1b[KCode: abandon-zoo-");
  type(prompt, "aban\taban\t");
  EXPECT_EQ(prompt.text(), "abandon-zoo-abandon-abandon") << "four are enough";
  EXPECT_EQ(type(prompt, "\t"), "");
}

TEST(CodePrompt, TabShowsTheChoicesWhereThereAreSeveral) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "zo\t"), "zo\r\nzone  zoo  \r\n\r\x1b[KCode: zo");
  EXPECT_EQ(prompt.text(), "zo");
}

TEST(CodePrompt, TabRingsWhereNothingFitsOrTooMuchDoes) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "\t"), "\a");
  EXPECT_EQ(type(prompt, "qqq\t"), "qqq\a");
}

TEST(CodePrompt, IsCorrectedWithBackspaceAndCtrlU) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "ab\x7f"), "ab\b \b");
  EXPECT_EQ(prompt.text(), "a");
  EXPECT_EQ(type(prompt, "\x15"), "\r\x1b[KCode: ");
  EXPECT_EQ(prompt.text(), "");
  EXPECT_EQ(type(prompt, "\b"), "\a");
}

TEST(CodePrompt, IsLeftWithCtrlCAndOnAnEmptyLineWithCtrlD) {
  CodePrompt first("Code: "), second("Code: "), third("Code: ");
  type(first, "ab\x03");
  EXPECT_EQ(first.state(), CodePrompt::State::Cancelled);
  type(second, "ab\x04");
  EXPECT_EQ(second.state(), CodePrompt::State::Typing);
  type(third, "\x04");
  EXPECT_EQ(third.state(), CodePrompt::State::Cancelled);
}

TEST(CodePrompt, ArrowsControlsAndStrangeBytesChangeNothing) {
  CodePrompt prompt("Code: ");
  EXPECT_EQ(type(prompt, "a\x1b[D\x1bOA\x1b[1;5Cb\x01\xc3\xa4"), "ab");
  EXPECT_EQ(prompt.text(), "ab");
}

TEST(CodePrompt, HasABound) {
  CodePrompt prompt("Code: ");
  type(prompt, std::string(CodePrompt::kMaxText, 'a'));
  EXPECT_EQ(type(prompt, "a"), "\a");
  EXPECT_EQ(prompt.text().size(), CodePrompt::kMaxText);
}

}  // namespace
}  // namespace dh::session
