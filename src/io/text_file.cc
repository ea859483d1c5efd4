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
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw DiskError(fmt::format("cannot save the text as {}: {}", printable(path, 1000), std::strerror(error)));
}

}  // namespace

std::optional<std::string> save_text(const std::string& path, const std::string& text, Conflict conflict) {
  const auto slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (!transfer::check_component(name)) fail(path, EISDIR);
  const Fd folder(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) fail(path, errno);
  struct stat info {};
  const bool taken = ::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (taken && S_ISDIR(info.st_mode)) fail(path, EISDIR);
  if (taken && conflict == Conflict::Skip) return std::nullopt;
  auto part = TemporaryFile::create(folder.get(), ".derphole-text-", 0666);
  if (!part) fail(path, part.error());
  if (const auto written = part->write(text); !written) fail(path, written.error());
  if (::fsync(part->fd().get()) != 0) fail(path, errno);
  TreePlacer placer;
  const auto placed = placer.place(folder.get(), part->name(), folder.get(), name, conflict);
  if (!placed) fail(path, placed.error());
  part->moved();
  (void)::fsync(folder.get());
  return slash == std::string::npos ? placed->name : path.substr(0, slash + 1) + placed->name;
}

}  // namespace dh::io
