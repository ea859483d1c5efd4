#include "io/tree_placer.hh"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

constexpr int kMaxNumber = 10'000;

bool is_directory(int at, const std::string& name) {
  struct stat info {};
  return ::fstatat(at, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
}

// rename() that never replaces anything; 0 or errno.
int rename_new(int from, const std::string& name, int to, const std::string& final_name) {
  if (::renameat2(from, name.c_str(), to, final_name.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return errno;
  // File systems without that flag: a link or a new directory never replaces anything either.
  if (is_directory(from, name)) {
    if (::mkdirat(to, final_name.c_str(), 0700) != 0) return errno;
    if (::renameat(from, name.c_str(), to, final_name.c_str()) == 0) return 0;
    const int error = errno;
    (void)::unlinkat(to, final_name.c_str(), AT_REMOVEDIR);
    return error;
  }
  if (::linkat(from, name.c_str(), to, final_name.c_str(), 0) != 0) return errno;
  (void)::unlinkat(from, name.c_str(), 0);
  return 0;
}

}  // namespace

std::string numbered_name(const std::string& name, bool is_directory, int number) {
  const std::string mark = fmt::format(" ({})", number);
  std::size_t dot = is_directory ? std::string::npos : name.rfind('.');
  if (dot == 0 || dot == std::string::npos || name.size() - dot > 20) dot = name.size();
  std::string stem = name.substr(0, dot);
  const std::string ending = name.substr(dot);
  const std::size_t room = transfer::kMaxComponentBytes - mark.size() - ending.size();
  if (stem.size() > room) {
    stem.resize(room);
    // Not through the middle of a character.
    while (!stem.empty() && (static_cast<unsigned char>(name[stem.size()]) & 0xc0) == 0x80) stem.pop_back();
  }
  return stem + mark + ending;
}

bool TreePlacer::is_ours(int directory, const std::string& name) const {
  struct stat info {};
  return ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && is_ours(info);
}

void TreePlacer::remember(int directory, const std::string& name) {
  struct stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
    placed_.insert({info.st_dev, info.st_ino});
}

void TreePlacer::failure(const std::string& name, int error) {
  if (failed_++ == 0) first_failure_ = fmt::format("{}: {}", printable(name), std::strerror(error));
}

std::expected<TreePlacer::Result, int> TreePlacer::place(int from, const std::string& name, int to,
                                                         const std::string& final_name, Conflict conflict) {
  std::string wanted = final_name;
  for (int number = 1;; ++number) {
    const int error = rename_new(from, name, to, wanted);
    if (error == 0) return Result{.name = wanted};
    if (error != EEXIST) return std::unexpected(error);
    if (conflict == Conflict::Overwrite || conflict == Conflict::Skip)
      return merge(from, name, to, wanted, conflict, 0);
    if (conflict == Conflict::Refuse || number >= kMaxNumber) return std::unexpected(EEXIST);
    wanted = numbered_name(final_name, is_directory(from, name), number);
  }
}

std::expected<TreePlacer::Result, int> TreePlacer::merge(int from, const std::string& name, int to,
                                                         const std::string& final_name, Conflict conflict,
                                                         int depth) {
  const Result merged{.name = final_name, .moved_whole = false};
  const bool here = is_directory(to, final_name), coming = is_directory(from, name);
  if (here != coming || !here) {
    if (conflict == Conflict::Skip) return merged;  // goes away with the staging directory
    if (here != coming) return std::unexpected(here ? EISDIR : ENOTDIR);
    if (::renameat(from, name.c_str(), to, final_name.c_str()) != 0) return std::unexpected(errno);
    remember(to, final_name);
    return merged;
  }
  const auto source = open_beneath(from, name, O_RDONLY | O_DIRECTORY);
  if (!source) return std::unexpected(source.error());
  const auto target = open_beneath(to, final_name, O_RDONLY | O_DIRECTORY);
  if (!target) return std::unexpected(target.error());
  const auto names = names_in(source->get());
  if (!names) return std::unexpected(names.error());
  for (const std::string& child : *names) {
    const int error = rename_new(source->get(), child, target->get(), child);
    if (error == 0) {
      remember(target->get(), child);
      continue;
    }
    if (error == EEXIST && is_ours(target->get(), child)) {
      failure(child, EEXIST);
      continue;
    }
    if (error != EEXIST || depth >= static_cast<int>(transfer::kMaxDepth)) {
      failure(child, error);
      continue;
    }
    if (const auto inner = merge(source->get(), child, target->get(), child, conflict, depth + 1); !inner)
      failure(child, inner.error());
  }
  if (::fsync(target->get()) != 0 && errno != EINVAL && errno != ENOTSUP) failure(final_name, errno);
  return merged;
}

}  // namespace dh::io
