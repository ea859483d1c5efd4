#include "io/cached_file.hh"

#include <cerrno>
#include <cstring>

#include <linux/magic.h>
#include <sys/stat.h>
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

// Asked when a read said 0: with RWF_NOWAIT Linux 5.9 and 5.10 may do so before the end.
bool is_at_end(int fd) {
  struct stat info {};
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  return ::fstat(fd, &info) == 0 && at >= 0 && at >= info.st_size;
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
  if (size == 0 && (in_memory_ || is_at_end(fd_))) {
    ended_ = true;
  } else if (in_memory_) {
    error_ = errno;
  } else {  // not in memory yet, or one that cannot tell: whoever may block finds out, the end and errors too
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
