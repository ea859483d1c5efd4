#pragma once

// What of a transfer is on disk already, for the next try. Spec: docs/protocol/transfer.md "Journal".
// Nothing in it is believed: before a resume every block is read again and compared with its digest here.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/bytes.hh"
#include "transfer/block_digest.hh"
#include "transfer/manifest.hh"

namespace dh::transfer {

/// Identifies a file across tries: path, size, mtime. Not the token, which is new every time.
using FileKey = ByteArray<16>;
FileKey file_key(const Manifest& manifest, std::uint32_t entry);

/// A run of blocks in order: one of data, or `holes` ones of a hole.
struct JournalBlock {
  std::uint32_t holes = 0;
  BlockDigest digest{};  // without holes
  bool operator==(const JournalBlock&) const = default;
};

struct FileKeyHash {
  std::size_t operator()(const FileKey& key) const { return static_cast<std::size_t>(load_be64(key.data())); }
};
/// An entry that was about to get its final name, whole and synced. Whoever finds this very inode under a
/// final name knows that it is in place.
struct JournalPlaced {
  ByteArray<16> manifest{};  // manifest_key()
  std::uint64_t device = 0, inode = 0;
  bool operator==(const JournalPlaced&) const = default;
};
struct Journal {
  std::unordered_map<FileKey, std::vector<JournalBlock>, FileKeyHash> files;
  std::vector<JournalPlaced> placed;
};
/// The same for exactly the same list of entries.
ByteArray<16> manifest_key(const Manifest& manifest);

// Append-only records, each with a checksum.
void journal_start(Writer& w);  // once, at the beginning of the file
void journal_file(Writer& w,
                  const FileKey& key);  // from here on about this file; forgets what was said before
void journal_block(Writer& w, const BlockDigest& digest);
void journal_hole(Writer& w, std::uint32_t blocks);
void journal_placed(Writer& w, const JournalPlaced& placed);

/// Everything before the first record that is cut short or damaged: a journal ends where the power did.
Journal parse_journal(ByteView bytes);

}  // namespace dh::transfer
