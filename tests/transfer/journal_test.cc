#include "transfer/journal.hh"

#include <gtest/gtest.h>

#include "transfer/check_string.hh"
#include "transfer/progress.hh"

namespace dh::transfer {
namespace {

BlockDigest digest(int n) {
  BlockDigest out{};
  out[15] = static_cast<std::byte>(n);
  return out;
}

Manifest tree(std::string_view directory, std::int64_t mtime, std::uint64_t size) {
  Manifest out;
  EXPECT_TRUE(out.add({.kind = EntryKind::Directory, .name = directory}));
  EXPECT_TRUE(out.add({.parent = 0, .name = "f", .mtime_ns = mtime, .size = size}));
  return out;
}

TEST(Journal, IdentityIsPathSizeAndTime) {
  const FileKey key = file_key(tree("d", 1, 2), 1);
  EXPECT_EQ(file_key(tree("d", 1, 2), 1), key);
  EXPECT_NE(file_key(tree("e", 1, 2), 1), key);
  EXPECT_NE(file_key(tree("d", 2, 2), 1), key);
  EXPECT_NE(file_key(tree("d", 1, 3), 1), key);
}

TEST(Journal, ReadsWhatWasWritten) {
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  const FileKey a = file_key(tree("a", 1, 1), 1), b = file_key(tree("b", 1, 1), 1);
  journal_file(w, a);
  journal_block(w, digest(1));
  journal_hole(w, 3);
  journal_file(w, b);
  journal_block(w, digest(2));
  const Journal journal = parse_journal(bytes);
  ASSERT_EQ(journal.files.size(), 2u);
  EXPECT_EQ(journal.files.at(a),
            (std::vector<JournalBlock>{{.holes = 0, .digest = digest(1)}, {.holes = 3, .digest = {}}}));
  EXPECT_EQ(journal.files.at(b), (std::vector<JournalBlock>{{.holes = 0, .digest = digest(2)}}));
}

TEST(Journal, AFileStartedAnewForgetsWhatWasSaid) {
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  journal_file(w, FileKey{});
  journal_block(w, digest(1));
  journal_file(w, FileKey{});
  EXPECT_EQ(parse_journal(bytes).files.at(FileKey{}).size(), 0u);
}

TEST(Journal, RemembersWhatWasAboutToGetItsName) {
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  const JournalPlaced one{.manifest = manifest_key(tree("a", 1, 1)), .device = 5, .inode = 1ULL << 40};
  journal_placed(w, one);
  EXPECT_EQ(parse_journal(bytes).placed, std::vector{one});
  EXPECT_NE(manifest_key(tree("a", 1, 1)), manifest_key(tree("a", 2, 1)));
}

TEST(Journal, EndsWhereItIsTornOrDamaged) {
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  const std::size_t head = bytes.size();
  journal_file(w, FileKey{});
  journal_block(w, digest(1));
  journal_block(w, digest(2));
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const Journal journal = parse_journal(ByteView(bytes).first(size));
    const std::size_t records = size < head ? 0 : (size - head) / 21;
    EXPECT_EQ(journal.files.size(), records == 0 ? 0u : 1u) << size;
    if (records > 0) {
      EXPECT_EQ(journal.files.at(FileKey{}).size(), records - 1) << size;
    }
  }
  for (std::size_t at = head; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{4};
    const Journal journal = parse_journal(damaged);
    const std::size_t record = (at - head) / 21;
    EXPECT_EQ(journal.files.empty() ? 0 : journal.files.at(FileKey{}).size() + 1, record) << at;
  }
}

TEST(StreamMarks, TellFilesFromStreamBytes) {
  StreamMarks marks;
  for (std::uint32_t i = 1; i <= 1000; ++i) marks.mark(i * 1000, {.bytes = i * 900, .files = i, .entry = i});
  EXPECT_EQ(marks.confirmed(0).files, 0u);
  const Progress some = marks.confirmed(500'000);
  EXPECT_LE(some.files, 500u);
  EXPECT_GE(some.files, 500u - StreamMarks::kStep / 1000);
  EXPECT_EQ(some.bytes, some.files * 900);
  EXPECT_EQ(marks.confirmed(1'000'000), (Progress{.bytes = 900'000, .files = 1000, .entry = 1000}));
}

TEST(CheckString, IsTheSameOnlyForTheSame) {
  const auto text = [](char session, int nonce, int file) {
    ByteArray<16> a{}, b{};
    ByteArray<32> binding{};
    binding[31] = static_cast<std::byte>(session);
    a[0] = static_cast<std::byte>(nonce);
    CheckString check(binding, a, b);
    ByteArray<32> sha{};
    sha[0] = static_cast<std::byte>(file);
    check.file(3, sha);
    return check.text();
  };
  EXPECT_EQ(text('s', 1, 1), text('s', 1, 1));
  EXPECT_NE(text('s', 1, 1), text('t', 1, 1));
  EXPECT_NE(text('s', 1, 1), text('s', 2, 1));
  EXPECT_NE(text('s', 1, 1), text('s', 1, 2));
  EXPECT_EQ(text('s', 1, 1).size(), 14u);
}

}  // namespace
}  // namespace dh::transfer
