#include "io/file_writer.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/clock.hh"

namespace dh::io {
namespace {

bool is_multiple(std::uint64_t value) {
  return value % WriteWay::kBlock == 0;
}

}  // namespace

FileWriter::FileWriter(int fd) : fd_(fd) {
  struct stat info {};
  const int flags = ::fcntl(fd, F_GETFL);
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || flags < 0) return;
  if ((flags & O_APPEND) != 0) return;  // where the end is others may decide, too
  way_.emplace();
}

ssize_t FileWriter::write(ByteView bytes) {
  if (!wants_blocks()) return write_cached(bytes);
  // Never from memory: stderr (`> file 2>&1`) or another program may share the position, and moves it.
  const off_t at = ::lseek(fd_, 0, SEEK_CUR);
  if (at < 0) return write_otherwise(bytes);
  const std::uint64_t into_block = static_cast<std::uint64_t>(at) % WriteWay::kBlock;
  if (into_block != 0)  // to where blocks begin
    return write_cached(bytes.first(std::min<std::size_t>(bytes.size(), WriteWay::kBlock - into_block)));
  if (bytes.size() < WriteWay::kLeastBytes || !is_multiple(reinterpret_cast<std::uintptr_t>(bytes.data())))
    return write_cached(bytes);
  if (!direct_) direct_ = reopen_direct(fd_);
  if (!direct_) return write_otherwise(bytes);
  return write_direct(bytes.first(bytes.size() / WriteWay::kBlock * WriteWay::kBlock));
}

ssize_t FileWriter::write_cached(ByteView bytes) {
  const Instant begun = now();
  const ssize_t size = ::write(fd_, bytes.data(), bytes.size());
  if (size > 0 && way_) way_->went(false, static_cast<std::uint64_t>(size), now() - begun);
  return size;
}

ssize_t FileWriter::write_otherwise(ByteView bytes) {
  way_->give_up();  // whatever it was, the usual way shows whether it is ours to tell
  return write_cached(bytes);
}

// The position moves first: what others say meanwhile goes behind these bytes, not into them.
ssize_t FileWriter::write_direct(ByteView bytes) {
  const off_t end = ::lseek(fd_, static_cast<off_t>(bytes.size()), SEEK_CUR);
  if (end < 0) return write_otherwise(bytes);
  off_t at = end - static_cast<off_t>(bytes.size());
  const Instant begun = now();
  const ssize_t size = ::pwrite(direct_.get(), bytes.data(), bytes.size(), at);
  if (size > 0) {
    at += size;
    direct_bytes_ += static_cast<std::uint64_t>(size);
    way_->went(true, static_cast<std::uint64_t>(size), now() - begun);
  } else if (errno != EINTR) {
    way_->give_up();
  }
  // Nothing of what was taken may stay empty.
  while (at < end) {
    const auto left = static_cast<std::size_t>(end - at);
    const ssize_t more = ::pwrite(fd_, bytes.last(left).data(), left, at);
    if (more < 0 && errno == EINTR) continue;
    if (more <= 0) break;
    at += more;
  }
  const auto left = static_cast<std::size_t>(end - at);
  if (left == 0) return static_cast<ssize_t>(bytes.size());
  const int error = errno;
  ::lseek(fd_, -static_cast<off_t>(left), SEEK_CUR);
  errno = error;
  return left == bytes.size() ? -1 : static_cast<ssize_t>(bytes.size() - left);
}

ssize_t PieceWriter::write(int fd, std::uint64_t at, ByteView bytes) {
  const Instant begun = now();
  const ssize_t direct = way_.is_direct() ? write_direct(fd, at, bytes) : 0;
  const ssize_t size = direct > 0 ? direct : ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
  if (size > 0) way_.went(direct > 0, static_cast<std::uint64_t>(size), now() - begun);
  return size;
}

// 0: the usual way.
ssize_t PieceWriter::write_direct(int fd, std::uint64_t at, ByteView bytes) {
  if (!is_multiple(at) || bytes.size() < WriteWay::kLeastBytes) return 0;
  if (!direct_) direct_ = reopen_direct(fd);
  if (!blocks_) blocks_.reset(static_cast<std::byte*>(std::aligned_alloc(WriteWay::kBlock, kMostBytes)));
  const std::size_t most = std::min(bytes.size() / WriteWay::kBlock * WriteWay::kBlock, kMostBytes);
  if (direct_ && blocks_) {
    std::memcpy(blocks_.get(), bytes.data(), most);
    const ssize_t size = ::pwrite(direct_.get(), blocks_.get(), most, static_cast<off_t>(at));
    if (size > 0) {
      direct_bytes_ += static_cast<std::uint64_t>(size);
      return size;
    }
    if (size < 0 && errno == EINTR) return 0;
  }
  way_.give_up();
  return 0;
}

}  // namespace dh::io
