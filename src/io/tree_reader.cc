#include "io/tree_reader.hh"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fnmatch.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "transfer/limits.hh"
#include "transfer/name_rules.hh"

namespace dh::io {
namespace {

using transfer::EntryKind;

std::string joined(const std::string& directory, const std::string& name) {
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  return path.append(directory).append("/").append(name);
}

// Never waits for the other end of a FIFO, never becomes our terminal.
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

struct Walker {
  SourceTree& out;
  const ScanOptions& options;
  struct Visited {
    dev_t device;
    ino_t inode;
  };
  std::vector<Visited> above;  // with --follow: directories on the way here, against loops

  void leave_out(std::string path, std::string why, bool is_failure) {
    out.left_out.push_back({std::move(path), std::move(why), is_failure});
  }

  bool is_excluded(const std::string& name, const std::string& below) const {
    return std::any_of(options.excludes.begin(), options.excludes.end(), [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0 ||
             ::fnmatch(pattern.c_str(), below.c_str(), 0) == 0;
    });
  }

  // Adds one entry; its index, or nothing when it is left out.
  std::optional<std::uint32_t> add(const transfer::NewEntry& entry, const struct stat& info,
                                   const std::string& path) {
    const std::uint32_t index = out.manifest.size();
    if (auto added = out.manifest.add(entry); !added) {
      leave_out(path, transfer::sentence({added.error().fault, {}}), true);
      return std::nullopt;
    }
    out.marks.push_back({to_ns(info.st_ctim), info.st_ino});
    return index;
  }

  void visit(int directory, const std::string& name, std::uint32_t parent, const std::string& path,
             const std::string& below) {
    if (is_excluded(name, below) || (options.stop != nullptr && *options.stop)) return;
    struct stat info {};
    if (::fstatat(directory, name.c_str(), &info, options.follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
      leave_out(path, std::strerror(errno), true);
      return;
    }
    if (S_ISLNK(info.st_mode)) {
      visit_link(directory, name, parent, path, info);
    } else if (S_ISDIR(info.st_mode)) {
      const auto opened = open(directory, name, O_DIRECTORY);
      visit_directory(opened, name, parent, path, below, info);
    } else {
      visit_file(name, parent, path, info);
    }
  }

  std::expected<Fd, int> open(int directory, const std::string& name, int flags) const {
    const int fd = ::openat(directory, name.c_str(), kReadFlags | flags | (options.follow ? 0 : O_NOFOLLOW));
    if (fd < 0) return std::unexpected(errno);
    return Fd(fd);
  }

  void visit_link(int directory, const std::string& name, std::uint32_t parent, const std::string& path,
                  const struct stat& info) {
    std::string target(transfer::kMaxLinkBytes + 1, '\0');
    const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
    if (size < 0) return leave_out(path, std::strerror(errno), true);
    target.resize(static_cast<std::size_t>(size));
    const std::size_t depth = parent == transfer::kTop ? 0 : out.manifest[parent].depth + std::size_t{1};
    if (auto good = transfer::check_link_target(target, depth); !good)
      return leave_out(
          path,
          "symlink to " + printable(target) + ", outside of what is sent (--follow sends what it points to)",
          false);
    add({.kind = EntryKind::Symlink,
         .parent = parent,
         .name = name,
         .mode = 0,
         .mtime_ns = to_ns(info.st_mtim),
         .target = target},
        info, path);
  }

  void visit_file(const std::string& name, std::uint32_t parent, const std::string& path,
                  const struct stat& info) {
    if (!S_ISREG(info.st_mode)) {
      const char* what = S_ISFIFO(info.st_mode) ? "a FIFO" : S_ISSOCK(info.st_mode) ? "a socket" : "a device";
      return leave_out(path, std::string(what) + ", not a file", false);
    }
    const auto size = static_cast<std::uint64_t>(info.st_size);
    add({.kind = EntryKind::File,
         .parent = parent,
         .name = name,
         .mode = static_cast<std::uint16_t>(info.st_mode & 0777),
         .mtime_ns = to_ns(info.st_mtim),
         .size = size,
         .sparse = static_cast<std::uint64_t>(info.st_blocks) * 512 < size},
        info, path);
  }

  void visit_directory(const std::expected<Fd, int>& opened, const std::string& name, std::uint32_t parent,
                       const std::string& path, const std::string& below, const struct stat& info) {
    const bool loops = std::any_of(above.begin(), above.end(), [&](const Visited& one) {
      return one.device == info.st_dev && one.inode == info.st_ino;
    });
    if (loops) return leave_out(path, "a symlink back to a directory that contains it", false);
    const auto index = add({.kind = EntryKind::Directory,
                            .parent = parent,
                            .name = name,
                            .mode = static_cast<std::uint16_t>(info.st_mode & 0777),
                            .mtime_ns = to_ns(info.st_mtim)},
                           info, path);
    if (!index) return;
    if (!opened) return leave_out(path, std::strerror(opened.error()), true);
    const auto names = names_in(opened->get());
    if (!names) return leave_out(path, std::strerror(names.error()), true);
    above.push_back({info.st_dev, info.st_ino});
    for (const std::string& child : *names)
      visit(opened->get(), child, *index, joined(path, child), below.empty() ? child : joined(below, child));
    above.pop_back();
  }
};

// What the thing is called over there.
std::string name_of(const std::string& path) {
  std::string text = path;
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  std::string name = text.substr(text.rfind('/') + 1);
  if (name.empty() || name == "." || name == "..") {
    char* real = ::realpath(path.c_str(), nullptr);
    if (real == nullptr) return "root";
    const std::string whole = real;
    std::free(real);
    name = whole.substr(whole.rfind('/') + 1);
  }
  return name.empty() ? "root" : name;
}

}  // namespace

std::expected<SourceTree, std::string> scan_tree(const std::vector<std::string>& paths,
                                                 const ScanOptions& options) {
  SourceTree out;
  out.follow = options.follow;
  Walker walker{out, options, {}};
  for (const std::string& path : paths) {
    const std::string shown = printable(path, 1000);
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0)
      return std::unexpected(fmt::format("cannot send {}: {}", shown, std::strerror(errno)));
    const std::uint32_t before = out.manifest.size();
    if (S_ISDIR(info.st_mode)) {
      const int fd = ::open(path.c_str(), kReadFlags | O_DIRECTORY);
      if (fd < 0) return std::unexpected(fmt::format("cannot read {}: {}", shown, std::strerror(errno)));
      walker.visit_directory(Fd(fd), name_of(path), transfer::kTop, path, "", info);
    } else {
      if (!S_ISREG(info.st_mode))
        return std::unexpected(fmt::format("cannot send {}: it is neither a file nor a directory", shown));
      if (::access(path.c_str(), R_OK) != 0)
        return std::unexpected(fmt::format("cannot read {}: {}", shown, std::strerror(errno)));
      walker.visit_file(name_of(path), transfer::kTop, path, info);
    }
    if (out.manifest.size() == before)
      return std::unexpected(fmt::format("cannot send {}: {}", shown, out.left_out.back().why));
    out.roots.push_back(path);
  }
  if (auto good = transfer::check_names(out.manifest, {.allow_hidden = true}); !good)
    return std::unexpected("cannot send this together: " + transfer::sentence(good.error()));
  return out;
}

std::expected<int, int> TreeReader::directory(std::uint32_t entry) {
  if (!open_.empty() && open_.back().entry == entry) return open_.back().fd.get();
  const std::vector<std::uint32_t> path = tree_.manifest.chain(entry);
  std::size_t same = 0;
  while (same < path.size() && same < open_.size() && open_[same].entry == path[same]) ++same;
  open_.resize(same);
  for (std::size_t i = same; i < path.size(); ++i) {
    int fd = -1;
    if (i == 0) {
      const auto top = std::lower_bound(tops_.begin(), tops_.end(), path[0]) - tops_.begin();
      fd = ::open(tree_.roots[static_cast<std::size_t>(top)].c_str(), kReadFlags | O_DIRECTORY);
    } else {
      const std::string name(tree_.manifest.name(path[i]));
      fd = ::openat(open_.back().fd.get(), name.c_str(),
                    kReadFlags | O_DIRECTORY | (tree_.follow ? 0 : O_NOFOLLOW));
    }
    if (fd < 0) return std::unexpected(errno);
    open_.push_back({path[i], Fd(fd)});
  }
  return open_.back().fd.get();
}

std::expected<Fd, ReadFailure> TreeReader::open(std::uint32_t entry) {
  const auto failed = [](int error) {
    const bool gone = error == ENOENT || error == ENOTDIR || error == ELOOP;
    return std::unexpected(
        ReadFailure{gone ? transfer::FailReason::Changed : transfer::FailReason::Unreadable,
                    gone ? "it was removed or replaced meanwhile" : std::strerror(error)});
  };
  if (tops_.empty()) {
    for (std::uint32_t i = 0; i < tree_.manifest.size(); ++i)
      if (tree_.manifest[i].parent == transfer::kTop) tops_.push_back(i);
  }
  Fd file;
  if (tree_.manifest[entry].parent == transfer::kTop) {
    const auto top = std::lower_bound(tops_.begin(), tops_.end(), entry) - tops_.begin();
    file = Fd(::open(tree_.roots[static_cast<std::size_t>(top)].c_str(), kReadFlags));
  } else {
    const auto inside = directory(tree_.manifest[entry].parent);
    if (!inside) return failed(inside.error());
    const std::string name(tree_.manifest.name(entry));
    file = Fd(::openat(*inside, name.c_str(), kReadFlags | (tree_.follow ? 0 : O_NOFOLLOW)));
  }
  if (!file) return failed(errno);
  if (auto failure = changed(entry, file.get())) return std::unexpected(std::move(*failure));
  return file;
}

std::optional<ReadFailure> TreeReader::changed(std::uint32_t entry, int fd) const {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ReadFailure{transfer::FailReason::Unreadable, std::strerror(errno)};
  const transfer::Entry& was = tree_.manifest[entry];
  const SourceTree::Mark& mark = tree_.marks[entry];
  const bool same = S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) == was.size &&
                    to_ns(info.st_mtim) == was.mtime_ns && to_ns(info.st_ctim) == mark.ctime_ns &&
                    info.st_ino == mark.inode;
  if (same) return std::nullopt;
  return ReadFailure{transfer::FailReason::Changed, "it was changed while it was sent"};
}

}  // namespace dh::io
