#pragma once

// The sender's files: what a person named becomes a manifest, and its entries can be opened again later.
// Only regular files are ever read; the receiver names entries by number and can name nothing else.

#include <atomic>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "io/beneath.hh"
#include "transfer/manifest.hh"
#include "transfer/records.hh"

namespace dh::io {

struct ScanOptions {
  std::vector<std::string> excludes;        // fnmatch patterns, for a name or for the path below the argument
  bool follow = false;                      // symlinks become what they point to
  const std::atomic<bool>* stop = nullptr;  // once true, the scan ends early; its result is worth nothing
};

/// Something that stays behind.
struct LeftOut {
  std::string path;
  std::string why;
  bool is_failure = false;  // it should have been sent: exit status 7 at the end
};

struct SourceTree {
  transfer::Manifest manifest;
  std::vector<LeftOut> left_out;

  // To recognise a file that was changed since, per entry.
  struct Mark {
    std::int64_t ctime_ns = 0;
    ino_t inode = 0;
  };
  std::vector<Mark> marks;
  std::vector<std::string> roots;  // what was named, per top-level entry in order
  bool follow = false;
};

/// Walks what a person named. Named symlinks are followed, those inside are kept when they stay inside the
/// tree. Errors: one sentence, when something named cannot be sent at all.
std::expected<SourceTree, std::string> scan_tree(const std::vector<std::string>& paths,
                                                 const ScanOptions& options);

/// Why a file cannot be sent now.
struct ReadFailure {
  transfer::FailReason reason;
  std::string why;
};

/// Opens the files of a tree in any order, cheapest in the manifest's.
class TreeReader {
public:
  /// `tree` outlives the reader.
  explicit TreeReader(const SourceTree& tree) : tree_(tree) {}

  /// Errors: also that it is not the file any more that was scanned.
  std::expected<Fd, ReadFailure> open(std::uint32_t entry);
  /// Whether an opened file still is as it was scanned.
  std::optional<ReadFailure> changed(std::uint32_t entry, int fd) const;

private:
  std::expected<int, int> directory(std::uint32_t entry);

  struct Open {
    std::uint32_t entry;
    Fd fd;
  };
  const SourceTree& tree_;
  std::vector<std::uint32_t> tops_;  // entries at the top, in the order of roots
  std::vector<Open> open_;
};

}  // namespace dh::io
