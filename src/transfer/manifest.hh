#pragma once

// What a transfer consists of: names, kinds, sizes, times. Spec: docs/protocol/transfer.md "Manifest".

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hh"
#include "transfer/fault.hh"
#include "transfer/limits.hh"

namespace dh::transfer {

enum class EntryKind : std::uint8_t {
  Directory = 1,
  File = 2,
  Symlink = 3,
  Text = 4,  // shown, not stored; alone in its manifest
};

inline constexpr std::uint32_t kTop = UINT32_MAX;  // the parent of what lies at the destination itself

/// One entry, for Manifest::add.
struct NewEntry {
  EntryKind kind = EntryKind::File;
  std::uint32_t parent = kTop;  // index of a directory added before
  std::string_view name;
  std::uint16_t mode = 0644;     // 0..0777; 0 for symlinks and text
  std::int64_t mtime_ns = 0;     // since 1970
  std::uint64_t size = 0;        // of files and text
  bool sparse = false;           // a file with holes
  std::string_view target = {};  // of symlinks
};

/// An entry as it is kept; its name and target are asked of the manifest.
struct Entry {
  std::uint32_t parent = kTop;
  EntryKind kind = EntryKind::File;
  std::uint8_t depth = 0;  // components above it
  std::uint16_t mode = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t size = 0;
  bool sparse = false;
  std::uint8_t name_size = 0;
  std::uint16_t target_size = 0;
  std::uint32_t text_at = 0;

  bool has_content() const { return kind == EntryKind::File || kind == EntryKind::Text; }
};

/// The list of entries, each after its directory. Every entry in it has passed the rules that concern it
/// alone; those between entries are check_names(). A value; 40 bytes an entry and its name.
class Manifest {
public:
  /// Errors: what is wrong with this entry; nothing was added.
  std::expected<void, Refusal> add(const NewEntry& entry);

  std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  bool empty() const { return entries_.empty(); }
  const Entry& operator[](std::uint32_t index) const { return entries_[index]; }
  /// Valid until the next add().
  std::string_view name(std::uint32_t index) const;
  std::string_view target(std::uint32_t index) const;
  /// Components joined by slashes, for people only.
  std::string path(std::uint32_t index) const;
  /// Indices from the top down to `index` itself.
  std::vector<std::uint32_t> chain(std::uint32_t index) const;

  std::uint32_t files() const { return files_; }  // entries with content
  std::uint64_t bytes() const { return bytes_; }  // of their content
  bool is_text() const { return !entries_.empty() && entries_[0].kind == EntryKind::Text; }

  /// Appends the entries from `first` on that fit `room` bytes; returns the index behind the last.
  std::uint32_t serialize(std::uint32_t first, std::size_t room, Bytes& out) const;
  /// Adds the entries of one manifest record. Errors: also that the entries do not end where the record does.
  std::expected<void, Refusal> parse(ByteView part);

private:
  std::vector<Entry> entries_;
  std::string text_;  // all names and targets
  std::uint32_t files_ = 0;
  std::uint64_t bytes_ = 0;
  std::size_t metadata_bytes_ = 0;
};

}  // namespace dh::transfer
