#include "io/temporary_file.hh"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "io/beneath.hh"
#include "io/system_rng.hh"

namespace dh::io {

std::expected<TemporaryFile, int> TemporaryFile::create(int directory, std::string_view stem, mode_t mode) {
  SystemRng rng;
  std::string name = fmt::format("{}{:016x}", stem, rng.u64());
  auto fd = open_beneath(directory, name, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!fd) return std::unexpected(fd.error());
  return TemporaryFile(directory, std::move(name), std::move(*fd));
}

TemporaryFile::TemporaryFile(int directory, std::string name, Fd fd)
    : directory_(directory), name_(std::move(name)), fd_(std::move(fd)) {}

TemporaryFile::TemporaryFile(TemporaryFile&& other) noexcept
    : directory_(other.directory_), name_(std::exchange(other.name_, {})), fd_(std::move(other.fd_)) {}

TemporaryFile::~TemporaryFile() {
  if (!name_.empty()) (void)::unlinkat(directory_, name_.c_str(), 0);
}

std::expected<void, int> TemporaryFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd_.get(), text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return std::unexpected(size < 0 ? errno : EIO);
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  return {};
}

}  // namespace dh::io
