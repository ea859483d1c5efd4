#pragma once

#include <cstdint>
#include <expected>
#include <set>
#include <string>
#include <utility>

#include "io/tree_writer.hh"

namespace dh::io {

/// Moves finished entries from a staging directory to their final names. Nothing that exists is touched but
/// by Conflict::Overwrite, and then each file is replaced in one step.
class TreePlacer {
public:
  struct Result {
    std::string name;         // what it is called now
    bool moved_whole = true;  // false: merged into a directory that was there
  };
  /// Moves `from`/`name` to `to`/`final_name`, or beside it with Conflict::Rename.
  /// Errors: errno; EEXIST: something took the name meanwhile.
  std::expected<Result, int> place(int from, const std::string& name, int to, const std::string& final_name,
                                   Conflict conflict);

  /// Whether this was moved, as a whole, into a directory that was there.
  bool is_ours(const struct stat& found) const { return placed_.contains({found.st_dev, found.st_ino}); }

  std::uint32_t failed() const { return failed_; }
  const std::string& first_failure() const { return first_failure_; }

private:
  std::expected<Result, int> merge(int from, const std::string& name, int to, const std::string& final_name,
                                   Conflict conflict, int depth);
  void failure(const std::string& name, int error);
  bool is_ours(int directory, const std::string& name) const;
  void remember(int directory, const std::string& name);

  // What was placed into directories that are merged, as device and inode: two names of one transfer that the
  // destination takes for the same must not replace each other.
  std::set<std::pair<std::uint64_t, std::uint64_t>> placed_;

  std::uint32_t failed_ = 0;
  std::string first_failure_;
};

/// `photo.jpg` -> `photo (2).jpg`; cut so that it stays a name.
std::string numbered_name(const std::string& name, bool is_directory, int number);

}  // namespace dh::io
