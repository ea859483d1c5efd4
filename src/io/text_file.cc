#include "io/text_file.hh"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "io/temporary_file.hh"
#include "io/tree_placer.hh"
#include "transfer/name_rules.hh"

namespace dh::io {

TextFile::TextFile(const std::string& path) : path_(path) {
  const auto slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  name_ = slash == std::string::npos ? path : path.substr(slash + 1);
  if (!transfer::check_component(name_)) fail(EISDIR);
  folder_ = Fd(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_ || ::faccessat(folder_.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) fail(errno);
  directory_ = absolute(above);
}

void TextFile::fail(int error) const {
  throw DiskError(
      fmt::format("cannot save the text as {}: {}", printable(path_, 1000), std::strerror(error)));
}

bool TextFile::is_taken() const {
  struct stat info {};
  return ::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

void TextFile::decide(Conflict conflict) {
  conflict_ = conflict;
  struct stat info {};
  const bool is_directory =
      ::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
  if (is_directory && conflict == Conflict::Overwrite) fail(EISDIR);
}

std::optional<std::string> TextFile::save(const std::string& text) {
  if (conflict_ == Conflict::Skip && is_taken()) return std::nullopt;
  auto part = TemporaryFile::create(folder_.get(), ".derphole-text-", 0666);
  if (!part) fail(part.error());
  if (const auto written = part->write(text); !written) fail(written.error());
  if (::fsync(part->fd().get()) != 0) fail(errno);
  TreePlacer placer;
  const auto placed = placer.place(folder_.get(), part->name(), folder_.get(), name_, conflict_);
  if (!placed) fail(placed.error());
  if (conflict_ == Conflict::Skip && !placed->moved_whole) return std::nullopt;  // taken meanwhile
  part->moved();
  (void)::fsync(folder_.get());
  return directory_ + (directory_ == "/" ? "" : "/") + placed->name;
}

}  // namespace dh::io
