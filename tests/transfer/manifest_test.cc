#include "transfer/manifest.hh"

#include <gtest/gtest.h>

#include "transfer/limits.hh"
#include "transfer/name_rules.hh"

namespace dh::transfer {
namespace {

Fault fault_of(const std::expected<void, Refusal>& result) {
  EXPECT_FALSE(result);
  return result ? Fault::BadAnswer : result.error().fault;
}

Manifest small_tree() {
  Manifest out;
  EXPECT_TRUE(out.add({.kind = EntryKind::Directory, .name = "d", .mode = 0755, .mtime_ns = 1}));
  EXPECT_TRUE(out.add({.parent = 0, .name = "f", .mode = 0640, .mtime_ns = -1, .size = 300}));
  EXPECT_TRUE(out.add({.kind = EntryKind::Symlink, .parent = 0, .name = "l", .mode = 0, .target = "f"}));
  EXPECT_TRUE(out.add({.name = "top", .mode = 0600, .mtime_ns = 2, .size = 0, .sparse = true}));
  return out;
}

TEST(Manifest, HasItsGoldenBytes) {
  Bytes bytes;
  EXPECT_EQ(small_tree().serialize(0, 1000, bytes), 4u);
  EXPECT_EQ(to_hex(bytes),
            "010001ed00000000000000010164"
            "020101a0ffffffffffffffffac020166"
            "030200000000000000000000016c000166"
            "0a000180000000000000000200"
            "03746f70");
  Manifest again;
  ASSERT_TRUE(again.parse(bytes));
  Bytes twice;
  EXPECT_EQ(again.serialize(0, 1000, twice), 4u);
  EXPECT_EQ(twice, bytes);
  EXPECT_EQ(again.path(1), "d/f");
  EXPECT_EQ(again.target(2), "f");
  EXPECT_EQ(again.files(), 2u);
  EXPECT_EQ(again.bytes(), 300u);
}

TEST(Manifest, EveryTruncationIsRefusedOrEndsBetweenEntries) {
  Bytes bytes;
  small_tree().serialize(0, 1000, bytes);
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    Manifest cut;
    const bool between = size == 14 || size == 30 || size == 47;
    EXPECT_EQ(cut.parse(ByteView(bytes).first(size)).has_value(), between) << size;
  }
}

TEST(Manifest, GoesIntoPartsWhenItIsLong) {
  Manifest all;
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(all.add({.name = "file " + std::to_string(i), .size = 7}));
  Manifest again;
  int parts = 0;
  for (std::uint32_t next = 0; next < all.size(); ++parts) {
    Bytes part;
    next = all.serialize(next, 10'000, part);
    EXPECT_LE(part.size(), 10'000u);
    ASSERT_TRUE(again.parse(part));
  }
  EXPECT_EQ(again.size(), 5000u);
  EXPECT_GT(parts, 10);
  EXPECT_EQ(again.name(4999), "file 4999");
}

TEST(Manifest, AnEntryIsOnlyInsideADirectoryListedBefore) {
  Manifest m = small_tree();
  EXPECT_EQ(fault_of(m.add({.parent = 1, .name = "x"})), Fault::BadParent);
  EXPECT_EQ(fault_of(m.add({.parent = 2, .name = "x"})), Fault::BadParent);
  EXPECT_EQ(fault_of(m.add({.parent = 4, .name = "x"})), Fault::BadParent);
  EXPECT_EQ(m.size(), 4u);
}

TEST(Manifest, PathsHaveAtMost64Components) {
  Manifest m;
  for (std::uint32_t depth = 0; depth < 64; ++depth)
    ASSERT_TRUE(m.add({.kind = EntryKind::Directory, .parent = depth == 0 ? kTop : depth - 1, .name = "d"}));
  EXPECT_EQ(fault_of(m.add({.parent = 63, .name = "x"})), Fault::TooDeep);
  EXPECT_EQ(m.chain(63).size(), 64u);
}

TEST(Manifest, ModesAreNinePermissionBits) {
  Manifest m;
  EXPECT_EQ(fault_of(m.add({.name = "setuid", .mode = 04755})), Fault::BadMode);
  EXPECT_EQ(fault_of(m.add({.name = "sticky", .mode = 01777})), Fault::BadMode);
  EXPECT_TRUE(m.add({.name = "all", .mode = 0777}));
}

TEST(Manifest, SizesHaveALimitAlsoTogether) {
  Manifest m;
  EXPECT_EQ(fault_of(m.add({.name = "x", .size = kMaxFileBytes + 1})), Fault::SizeTooLarge);
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(m.add({.name = std::to_string(i), .size = kMaxFileBytes}));
  EXPECT_EQ(fault_of(m.add({.name = "x", .size = 1})), Fault::SizeTooLarge);
}

TEST(Manifest, ATextIsAlone) {
  Manifest text;
  ASSERT_TRUE(text.add({.kind = EntryKind::Text, .name = "text", .size = 5}));
  EXPECT_TRUE(text.is_text());
  EXPECT_EQ(fault_of(text.add({.name = "x"})), Fault::TextNotAlone);
  Manifest files = small_tree();
  EXPECT_EQ(fault_of(files.add({.kind = EntryKind::Text, .name = "text"})), Fault::TextNotAlone);
  Manifest large;
  EXPECT_EQ(fault_of(large.add({.kind = EntryKind::Text, .name = "t", .size = kMaxTextBytes + 1})),
            Fault::TextTooLarge);
}

TEST(Manifest, MetadataIsChargedAsItArrives) {
  Bytes part;
  Writer w(part);
  for (int i = 0; i < 800; ++i) {  // one entry 1,000 times over would be a duplicate only later
    w.u8(2);
    w.u8(0);
    w.u16(0644);
    w.u64(0);
    w.u8(0);
    w.u8(255);
    w.text(std::string(255, 'x'));
  }
  Manifest m;
  std::size_t taken = 0;
  for (;;) {
    const auto result = m.parse(part);
    if (!result) {
      EXPECT_EQ(result.error().fault, Fault::TooMuchMetadata);
      break;
    }
    taken += part.size();
    ASSERT_LE(taken, kMaxMetadataBytes);
  }
  EXPECT_GT(taken, kMaxMetadataBytes - part.size());
}

TEST(Manifest, BadBytesAreNamed) {
  const auto parse = [](std::string_view hex) {
    Manifest m;
    return fault_of(m.parse(*from_hex(hex)));
  };
  EXPECT_EQ(parse("050001a400000000000000000178"), Fault::BadKind);
  EXPECT_EQ(parse("000001a400000000000000000178"), Fault::BadKind);
  EXPECT_EQ(parse("120001a40000000000000000000178"), Fault::BadRecord);  // unknown flag
  EXPECT_EQ(parse("090001a400000000000000000178"), Fault::BadRecord);    // a sparse directory
  EXPECT_EQ(parse("020101a40000000000000000000178"), Fault::BadParent);  // nothing is before it
  EXPECT_EQ(parse("02800001a40000000000000000000178"),
            Fault::BadRecord);  // a varint in two bytes that needs one
  EXPECT_EQ(parse("02000fff0000000000000000000178"), Fault::BadMode);
}

}  // namespace
}  // namespace dh::transfer
