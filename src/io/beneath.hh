#pragma once

// File system calls relative to directories that are held open, so that nobody can swap a path under us.

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "io/listen_socket.hh"
#include "transfer/manifest.hh"

namespace dh::io {

/// openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS and O_CLOEXEC. `name` is one
/// component. Errors: errno.
std::expected<Fd, int> open_beneath(int directory, const std::string& name, int flags, mode_t mode = 0);

/// The names in a directory without `.` and `..`, sorted by their bytes. Errors: errno.
std::expected<std::vector<std::string>, int> names_in(int directory);

/// Removes an entry and everything below it, following nothing. Errors: errno of the first failure.
std::expected<void, int> remove_beneath(int directory, const std::string& name, int depth = 0);

/// For what is shown: with links resolved, or as it is where that cannot be done.
std::string absolute(const std::string& path);

std::int64_t to_ns(const timespec& time);
timespec to_timespec(std::int64_t ns);

/// The directories of a manifest below one that is held, each opened through its parent's descriptor. Keeps
/// those of the last path open: neighbours cost nothing.
class DirectoryChain {
public:
  enum class Missing : std::uint8_t { Create, Fail };
  /// `name_of`: what an entry is called here. References must outlive the chain.
  DirectoryChain(int root, const transfer::Manifest& manifest, Missing missing,
                 std::function<std::string(std::uint32_t)> name_of);

  /// The directory `entry` itself (transfer::kTop: the root); the descriptor is valid until the next call.
  /// Errors: errno.
  std::expected<int, int> directory(std::uint32_t entry);
  /// The one that `entry` lies in.
  std::expected<int, int> parent_of(std::uint32_t entry) { return directory(manifest_[entry].parent); }
  void forget() { open_.clear(); }

private:
  struct Open {
    std::uint32_t entry;
    Fd fd;
  };
  int root_;
  const transfer::Manifest& manifest_;
  Missing missing_;
  std::function<std::string(std::uint32_t)> name_of_;
  std::vector<Open> open_;  // from the top down
};

}  // namespace dh::io
