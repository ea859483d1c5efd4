#include "io/text_file.hh"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "io/tree_placer.hh"
#include "transfer/name_rules.hh"

namespace dh::io {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw DiskError(fmt::format("cannot save the text as {}: {}", printable(path, 1000), std::strerror(error)));
}

// Removes what did not get its name.
struct Leftover {
  ~Leftover() {
    if (!name.empty()) (void)::unlinkat(folder, name.c_str(), 0);
  }
  int folder;
  std::string name;
};

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
  Leftover part{folder.get(), fmt::format(".derphole-text-{}", ::getpid())};
  auto file = open_beneath(folder.get(), part.name, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (!file) fail(path, file.error());
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t size = ::write(file->get(), text.data() + at, text.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) fail(path, errno);
    at += static_cast<std::size_t>(size);
  }
  if (::fsync(file->get()) != 0) fail(path, errno);
  TreePlacer placer;
  const auto placed = placer.place(folder.get(), part.name, folder.get(), name, conflict);
  if (!placed) fail(path, placed.error());
  part.name.clear();
  (void)::fsync(folder.get());
  return slash == std::string::npos ? placed->name : path.substr(0, slash + 1) + placed->name;
}

}  // namespace dh::io
