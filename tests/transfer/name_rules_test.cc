#include "transfer/name_rules.hh"

#include <gtest/gtest.h>

#include "transfer/manifest.hh"

namespace dh::transfer {
namespace {

Fault fault_of(const std::expected<void, Refusal>& result) {
  EXPECT_FALSE(result);
  return result ? Fault::BadAnswer : result.error().fault;
}

std::expected<void, Refusal> pair(std::string_view a, std::string_view b, NamePolicy policy = {},
                                  EntryKind kind = EntryKind::File) {
  Manifest m;
  EXPECT_TRUE(m.add({.name = a}));
  EXPECT_TRUE(m.add({.kind = kind, .name = b}));
  return check_names(m, policy);
}

TEST(NameRules, RefuseWhatIsNotOneComponent) {
  using namespace std::string_view_literals;
  EXPECT_EQ(fault_of(check_component("")), Fault::EmptyName);
  EXPECT_EQ(fault_of(check_component(".")), Fault::DotName);
  EXPECT_EQ(fault_of(check_component("..")), Fault::DotName);
  for (std::string_view name : {"/", "/etc/passwd", "a/b", "../x", "a/", "./x"})
    EXPECT_EQ(fault_of(check_component(name)), Fault::SlashInName) << name;
  for (std::string_view name : {"\0"sv, "a\0"sv, "\0a"sv, "a\0b"sv})
    EXPECT_EQ(fault_of(check_component(name)), Fault::NulInName);
  EXPECT_EQ(fault_of(check_component(std::string(256, 'a'))), Fault::NameTooLong);
}

TEST(NameRules, TakeEveryOtherByte) {
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    EXPECT_TRUE(check_component(std::string("a") + static_cast<char>(byte))) << byte;
  }
  for (std::string_view name :
       {"...", "..a", "-rf", " ", "~", "*", "a\nb", "\\", "C:", "CON", "\xff\xfe", "\x1b[31m"})
    EXPECT_TRUE(check_component(name)) << name;
  EXPECT_TRUE(check_component(std::string(255, 'a')));
}

TEST(NameRules, LinksStayBelowTheirTopLevelEntry) {
  for (std::string_view target : {"x", "x/y", "./x", "x//y", "x/.", "a..b", "...", "x/"})
    EXPECT_TRUE(check_link_target(target, 1)) << target;
  EXPECT_TRUE(check_link_target("../x", 2));
  EXPECT_TRUE(check_link_target("..", 2));
  EXPECT_TRUE(check_link_target("../../x", 3));
  for (std::string_view target : {"..", "../x", "./../x", ".//../x"})
    EXPECT_EQ(fault_of(check_link_target(target, 1)), Fault::LinkOutside) << target;
  EXPECT_EQ(fault_of(check_link_target("../../x", 2)), Fault::LinkOutside);
  EXPECT_EQ(fault_of(check_link_target("x", 0)),
            Fault::LinkOutside);  // beside it is not part of what is sent
  // x may be a link upwards: what lexically stays inside would then leave.
  EXPECT_EQ(fault_of(check_link_target("x/../y", 5)), Fault::LinkOutside);
  EXPECT_EQ(fault_of(check_link_target("", 1)), Fault::LinkEmpty);
  EXPECT_EQ(fault_of(check_link_target("/", 1)), Fault::LinkAbsolute);
  EXPECT_EQ(fault_of(check_link_target("//x", 1)), Fault::LinkAbsolute);
  EXPECT_EQ(fault_of(check_link_target(std::string_view("a\0b", 3), 1)), Fault::LinkNul);
  EXPECT_EQ(fault_of(check_link_target(std::string(4096, 'a'), 1)), Fault::LinkTooLong);
}

TEST(NameRules, NoNameTwiceInADirectory) {
  EXPECT_EQ(fault_of(pair("a", "a")), Fault::DuplicateName);
  EXPECT_EQ(fault_of(pair("a", "a", {}, EntryKind::Directory)), Fault::FileAndDirectory);
  EXPECT_TRUE(pair("a", "b"));
  Manifest m;
  ASSERT_TRUE(m.add({.kind = EntryKind::Directory, .name = "d"}));
  ASSERT_TRUE(m.add({.kind = EntryKind::Directory, .name = "e"}));
  ASSERT_TRUE(m.add({.parent = 0, .name = "same"}));
  ASSERT_TRUE(m.add({.parent = 1, .name = "same"}));
  EXPECT_TRUE(check_names(m, {}));
  ASSERT_TRUE(m.add({.parent = 0, .name = "same"}));
  EXPECT_EQ(fault_of(check_names(m, {})), Fault::DuplicateName);
}

TEST(NameRules, NoNamesThatLookTheSame) {
  EXPECT_EQ(fault_of(pair("caf\xc3\xa9", "cafe\xcc\x81")), Fault::UnicodeTwin);  // é composed and not
  EXPECT_EQ(fault_of(pair("a\xe2\x80\x8b", "a")), Fault::UnicodeTwin);           // zero width space
  EXPECT_EQ(fault_of(pair("\xe2\x84\xab", "\xc3\x85")), Fault::UnicodeTwin);     // Angstrom sign and Å
  EXPECT_TRUE(pair("caf\xc3\xa9", "cafe"));
  EXPECT_TRUE(pair("\xff", "\xfe"));  // not UTF-8: bytes are bytes
}

TEST(NameRules, CaseCountsOnlyWhereTheDestinationIgnoresIt) {
  EXPECT_TRUE(pair("README", "readme"));
  const NamePolicy folds{.destination_folds = true};
  EXPECT_EQ(fault_of(pair("README", "readme", folds)), Fault::CaseTwin);
  EXPECT_EQ(fault_of(pair("stra\xc3\x9f"
                          "e",
                          "STRASSE", folds)),
            Fault::CaseTwin);
  EXPECT_EQ(fault_of(pair("\xc3\x84", "a\xcc\x88", folds)), Fault::CaseTwin);  // Ä and decomposed ä
  EXPECT_EQ(fault_of(pair("\xce\xa3", "\xcf\x82", folds)), Fault::CaseTwin);   // Σ and final ς
  EXPECT_TRUE(pair("readme", "readme2", folds));
}

TEST(NameRules, NothingHiddenAtTheTopUnlessAllowed) {
  EXPECT_EQ(fault_of(pair("a", ".bashrc")), Fault::HiddenName);
  EXPECT_TRUE(pair("a", ".bashrc", {.allow_hidden = true}));
  Manifest m;
  ASSERT_TRUE(m.add({.kind = EntryKind::Directory, .name = "d"}));
  ASSERT_TRUE(m.add({.parent = 0, .name = ".git"}));
  EXPECT_TRUE(check_names(m, {}));
}

TEST(NameRules, EveryFaultHasItsOwnSentence) {
  std::vector<std::string> seen;
  for (int i = 0; i <= static_cast<int>(Fault::BadAnswer); ++i) {
    const std::string words = sentence({static_cast<Fault>(i), "\x1b[31mname"});
    EXPECT_NE(words.find("\\x1b[31mname"), std::string::npos);
    for (const std::string& other : seen) EXPECT_NE(words, other);
    seen.push_back(words);
  }
}

}  // namespace
}  // namespace dh::transfer
