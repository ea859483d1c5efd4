#include "io/beneath.hh"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <dirent.h>
#include <memory>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dh::io {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr int kMaxRemoveDepth = 256;  // what we made has 64 levels

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

std::expected<Fd, int> open_beneath(int directory, const std::string& name, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EINTR || errno == EAGAIN) continue;  // EAGAIN: something was renamed meanwhile
    if (errno != ENOSYS && errno != EPERM) return std::unexpected(errno);
    break;
  }
  // Kernels before 5.6, and sandboxes that do not know the call: for a single component O_NOFOLLOW says the
  // same.
  if (name.find('/') != std::string::npos || name == "..") return std::unexpected(EXDEV);
  const int fd = ::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return std::unexpected(errno);
  return Fd(fd);
}

std::expected<std::vector<std::string>, int> names_in(int directory) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return std::unexpected(errno);
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(copy));
  if (!stream) {
    ::close(copy);
    return std::unexpected(errno);
  }
  std::vector<std::string> out;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(std::move(name));
  }
  if (errno != 0) return std::unexpected(errno);
  std::sort(out.begin(), out.end());
  return out;
}

std::expected<void, int> remove_beneath(int directory, const std::string& name, int depth) {
  if (::unlinkat(directory, name.c_str(), 0) == 0) return {};
  if (errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return std::unexpected(errno);
  if (depth >= kMaxRemoveDepth) return std::unexpected(ELOOP);
  {
    const auto inner = open_beneath(directory, name, O_RDONLY | O_DIRECTORY);
    if (!inner) return std::unexpected(inner.error());
    const auto names = names_in(inner->get());
    if (!names) return std::unexpected(names.error());
    for (const std::string& child : *names)
      if (auto removed = remove_beneath(inner->get(), child, depth + 1); !removed) return removed;
  }
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0) return std::unexpected(errno);
  return {};
}

std::string absolute(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return path;
  std::string out = real;
  std::free(real);
  return out;
}

std::int64_t to_ns(const timespec& time) {
  constexpr std::int64_t kMost = INT64_MAX / kSecond - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -kMost, kMost) * kSecond + time.tv_nsec;
}

timespec to_timespec(std::int64_t ns) {
  timespec out{};
  out.tv_sec = ns / kSecond;
  out.tv_nsec = ns % kSecond;
  if (out.tv_nsec < 0) {
    out.tv_nsec += kSecond;
    --out.tv_sec;
  }
  return out;
}

DirectoryChain::DirectoryChain(int root, const transfer::Manifest& manifest, Missing missing,
                               std::function<std::string(std::uint32_t)> name_of)
    : root_(root), manifest_(manifest), missing_(missing), name_of_(std::move(name_of)) {}

std::expected<int, int> DirectoryChain::directory(std::uint32_t entry) {
  if (entry == transfer::kTop) return root_;
  if (!open_.empty() && open_.back().entry == entry) return open_.back().fd.get();
  const std::vector<std::uint32_t> path = manifest_.chain(entry);
  std::size_t same = 0;
  while (same < path.size() && same < open_.size() && open_[same].entry == path[same]) ++same;
  open_.resize(same);
  for (std::size_t i = same; i < path.size(); ++i) {
    const int above = open_.empty() ? root_ : open_.back().fd.get();
    const std::string name = name_of_(path[i]);
    auto opened = open_beneath(above, name, O_RDONLY | O_DIRECTORY);
    if (!opened && opened.error() == ENOENT && missing_ == Missing::Create) {
      if (::mkdirat(above, name.c_str(), 0700) != 0 && errno != EEXIST) return std::unexpected(errno);
      opened = open_beneath(above, name, O_RDONLY | O_DIRECTORY);
    }
    if (!opened) return std::unexpected(opened.error());
    open_.push_back({path[i], std::move(*opened)});
  }
  return open_.back().fd.get();
}

}  // namespace dh::io
