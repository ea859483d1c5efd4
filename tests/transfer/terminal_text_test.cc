#include "transfer/terminal_text.hh"

#include <gtest/gtest.h>

namespace dh::transfer {
namespace {

TEST(TerminalText, CountsColumnsNotBytes) {
  EXPECT_EQ(columns_of(""), 0u);
  EXPECT_EQ(columns_of("plain"), 5u);
  EXPECT_EQ(columns_of("Größe"), 5u);
  EXPECT_EQ(columns_of("e\xcc\x81"), 1u);  // a combining accent
  EXPECT_EQ(columns_of("写真"), 4u);
}

TEST(TerminalText, ShortensToColumnsWithoutCuttingACharacter) {
  EXPECT_EQ(shortened("photo.jpg", 9), "photo.jpg");
  EXPECT_EQ(shortened("photo.jpg", 8), "photo...");
  EXPECT_EQ(shortened("Größenwahn", 7), "Größ...");
  EXPECT_EQ(shortened("写真写真", 6), "写...");
  EXPECT_EQ(shortened("写真写真", 2), "..");
  EXPECT_EQ(shortened("long", 0), "");
}

TEST(TerminalText, WrapsAtSpacesAndKeepsLongWordsWhole) {
  EXPECT_EQ(wrapped("one two three", 80), "one two three");
  EXPECT_EQ(wrapped("one two three", 13), "one two three");
  EXPECT_EQ(wrapped("one two three", 12), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 3), "one\ntwo\nthree");
  EXPECT_EQ(wrapped("see https://relay.example/very/long now", 10),
            "see\nhttps://relay.example/very/long\nnow");
  EXPECT_EQ(wrapped("\nfirst line\n\n  indented line\n", 10), "\nfirst line\n\n  indented\nline\n");
  EXPECT_EQ(wrapped("über größe", 5), "über\ngröße");
  EXPECT_EQ(wrapped("", 10), "");
}

}  // namespace
}  // namespace dh::transfer
