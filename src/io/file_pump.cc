#include "io/file_pump.hh"

#include <cerrno>
#include <cstring>

#include <climits>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/check.hh"

namespace dh::io {
namespace {

// One read or write: large enough to be cheap, small enough that the other side of the ring starts early.
constexpr std::size_t kSliceBytes = 256u << 10;
constexpr std::size_t kDirectSlice = 1u << 20, kDirectLeast = 512u << 10;
constexpr Duration kDirectPatience = 20ms;  // for so many bytes to come together
constexpr std::size_t kReadBytes = 128u << 10;

int make_wake() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot create an eventfd");
  return fd;
}

void wake(int fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

// Waits for `events` on `fd`; false: woken to stop.
bool wait_ready(int fd, short events, int wake_fd) {
  pollfd fds[2] = {{fd, events, 0}, {wake_fd, POLLIN, 0}};
  for (;;) {
    const int ready = ::poll(fds, 2, -1);
    if (ready < 0 && errno == EINTR) continue;
    return ready < 0 || (fds[1].revents == 0);
  }
}

}  // namespace

bool is_regular(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

std::uint64_t bytes_ahead(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  const off_t at = lseek(fd, 0, SEEK_CUR);
  return at >= 0 && info.st_size > at ? static_cast<std::uint64_t>(info.st_size - at) : 0;
}

FileSource::FileSource(int fd, PumpNotify notify)
    : fd_(fd),
      is_regular_(is_regular(fd)),
      wake_(make_wake()),
      notify_(std::move(notify)),
      expected_bytes_(bytes_ahead(fd)) {
  thread_ = std::thread([this] { run(); });
}

FileSource::~FileSource() {
  ring_.stop();
  wake(wake_);
  thread_.join();
  ::close(wake_);
}

void FileSource::run() {
  for (;;) {
    ByteSpan room = ring_.wait_free(kReadBytes);
    if (room.empty() || (!is_regular_ && !wait_ready(fd_, POLLIN, wake_))) return;
    room = room.first(std::min(room.size(), kReadBytes));
    const ssize_t size = ::read(fd_, room.data(), room.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) {
      ring_.end(std::strerror(errno));
    } else if (size == 0) {
      ring_.end();
    } else {
      ring_.produced(static_cast<std::size_t>(size));
    }
    notify_();
    if (size <= 0) return;
  }
}

FileSink::FileSink(int fd, PumpNotify notify)
    : fd_(fd),
      wake_(make_wake()),
      notify_(std::move(notify)),
      ring_(is_regular(fd) ? kFileCapacity : kCapacity) {
  if (is_regular(fd)) file_.emplace(fd);
  thread_ = std::thread([this] { run(); });
}

FileSink::~FileSink() {
  ring_.stop();
  wake(wake_);
  thread_.join();
  ::close(wake_);
}

std::string FileSink::ring_error() const {
  const std::lock_guard lock(error_mutex_);
  return error_;
}

ssize_t FileSink::write_some(ByteView bytes) {
  // What one write may hold without blocking past its POLLOUT.
  if (!file_) return ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
  return file_->write(
      bytes.first(std::min(bytes.size(), file_->wants_blocks() ? kDirectSlice : kSliceBytes)));
}

void FileSink::run() {
  for (;;) {
    const bool in_blocks = file_ && file_->wants_blocks();
    ByteView bytes = in_blocks ? ring_.wait_filled(kDirectLeast, kDirectPatience) : ring_.wait_filled();
    if (in_blocks && bytes.empty() && !ring_.drained() && !ring_.stopped()) continue;
    if (bytes.empty()) {
      finished_ = ring_.drained();
      notify_();
      return;
    }
    if (!wait_ready(fd_, POLLOUT, wake_)) return;
    const ssize_t size = write_some(bytes);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) {
      {
        const std::lock_guard lock(error_mutex_);
        error_ = std::strerror(errno);
      }
      ring_.stop();
      notify_();
      return;
    }
    ring_.consumed(static_cast<std::size_t>(size));
    notify_();
  }
}

std::optional<StreamFault> FileSource::fault() const {
  const std::string why = error();
  if (why.empty()) return std::nullopt;
  return read_fault(why);
}

std::optional<StreamFault> FileSink::fault() const {
  const std::string why = error();
  if (why.empty()) return std::nullopt;
  return write_fault(why);
}

}  // namespace dh::io
