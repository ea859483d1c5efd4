#include "io/cached_file.hh"

#include <cerrno>
#include <cstring>

#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "io/file_pump.hh"

namespace dh::io {
namespace {

bool is_in_memory(int fd) {
  struct statfs info {};
  return fstatfs(fd, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

}  // namespace

CachedFileSource::CachedFileSource(int fd, PumpNotify notify)
    : fd_(fd), in_memory_(is_in_memory(fd)), expected_bytes_(bytes_ahead(fd)), notify_(std::move(notify)) {}
CachedFileSource::~CachedFileSource() = default;

std::size_t CachedFileSource::read(ByteSpan room) {
  if (slow_) return slow_->read(room);
  if (ended_ || error_ != 0 || room.empty()) return 0;
  iovec into{room.data(), room.size()};
  ssize_t size = 0;
  do {  // tmpfs does not know the flag, and need not
    size = in_memory_ ? ::readv(fd_, &into, 1) : ::preadv2(fd_, &into, 1, -1, RWF_NOWAIT);
  } while (size < 0 && errno == EINTR);
  if (size > 0) return static_cast<std::size_t>(size);
  if (size == 0) {
    ended_ = true;
  } else if (in_memory_) {
    error_ = errno;
  } else {  // not in memory yet, or a file system that cannot tell: whoever may block finds out, errors too
    slow_ = std::make_unique<FileSource>(fd_, std::move(notify_));
  }
  return 0;
}

bool CachedFileSource::finished() const {
  return slow_ ? slow_->finished() : ended_ || error_ != 0;
}

std::optional<StreamFault> CachedFileSource::fault() const {
  if (slow_) return slow_->fault();
  if (error_ == 0) return std::nullopt;
  return read_fault(std::strerror(error_));
}

}  // namespace dh::io
