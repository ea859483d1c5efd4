#pragma once

#include <optional>
#include <string>

#include "io/beneath.hh"
#include "io/tree_plan.hh"

namespace dh::io {

/// A text that gets a path which a person named. Whatever can be known to stand in the way is said before the
/// text is here; then it is written beside its name, synced and renamed, never through a link. One thread.
/// Errors: every call throws DiskError with a sentence; the name is as it was.
class TextFile {
public:
  /// Opens the directory, following links.
  explicit TextFile(const std::string& path);

  /// The name exists.
  bool is_taken() const;
  /// What to do about that. Errors: also a directory that would have to be replaced.
  void decide(Conflict conflict);
  /// Returns the absolute path it has now; nothing: Conflict::Skip, and the name is taken.
  std::optional<std::string> save(const std::string& text);

private:
  [[noreturn]] void fail(int error) const;

  std::string path_;  // as it was named
  std::string name_, directory_;
  Fd folder_;
  Conflict conflict_ = Conflict::Refuse;
};

}  // namespace dh::io
