#include "io/pipe_ends.hh"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dh::io {
namespace {

constexpr int kPipeBytes =
    256 << 10;  // as much as the system gives; fewer switches between us and the other end

// Takes whatever it is given at once, however much: what people measure with.
bool is_null_device(const struct stat& info) {
  struct stat null {};
  return S_ISCHR(info.st_mode) && ::stat("/dev/null", &null) == 0 && info.st_rdev == null.st_rdev;
}

}  // namespace

Fd reopen_pipe(int fd, int mode) {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !(S_ISFIFO(info.st_mode) || is_null_device(info))) return {};
  Fd own(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), mode | O_NONBLOCK | O_CLOEXEC));
  if (own && S_ISFIFO(info.st_mode) && ::fcntl(own.get(), F_GETPIPE_SZ) < kPipeBytes)
    (void)::fcntl(own.get(), F_SETPIPE_SZ, kPipeBytes);
  return own;
}

ReadyWait::ReadyWait(boost::asio::any_io_executor executor, Fd fd, Direction direction, PumpNotify notify)
    : executor_(std::move(executor)), fd_(std::move(fd)), direction_(direction), notify_(std::move(notify)) {}

ReadyWait::~ReadyWait() {
  if (descriptor_) descriptor_->release();  // cancels; fd_ closes it
}

void ReadyWait::start() {
  if (*waiting_) return;
  *waiting_ = true;
  if (!descriptor_)
    descriptor_ = std::make_unique<boost::asio::posix::stream_descriptor>(executor_, fd_.get());
  descriptor_->async_wait(direction_,
                          [waiting = waiting_, notify = notify_](const boost::system::error_code& error) {
                            *waiting = false;
                            if (error != boost::asio::error::operation_aborted) notify();
                          });
}

PipeSource::PipeSource(boost::asio::any_io_executor executor, Fd pipe, PumpNotify notify)
    : pipe_(std::move(executor), std::move(pipe), ReadyWait::Direction::wait_read, std::move(notify)) {}

std::size_t PipeSource::read(ByteSpan room) {
  while (!ended_) {
    const ssize_t size = ::read(pipe_.fd(), room.data(), room.size());
    if (size > 0) return static_cast<std::size_t>(size);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) {
      pipe_.start();
      return 0;
    }
    ended_ = true;
    error_ = size < 0 ? errno : 0;
  }
  return 0;
}

std::optional<StreamFault> PipeSource::fault() const {
  return error_ == 0 ? std::nullopt : std::optional(read_fault(std::strerror(error_)));
}

PipeSink::PipeSink(boost::asio::any_io_executor executor, Fd pipe, PumpNotify notify)
    : pipe_(std::move(executor), std::move(pipe), ReadyWait::Direction::wait_write, std::move(notify)) {}

std::size_t PipeSink::write(ByteView data) {
  std::size_t taken = 0;
  while (error_ == 0 && taken < data.size()) {
    const ssize_t size = ::write(pipe_.fd(), data.data() + taken, data.size() - taken);
    if (size >= 0) {
      taken += static_cast<std::size_t>(size);
    } else if (errno == EAGAIN) {
      pipe_.start();
      break;
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  return taken;
}

std::optional<StreamFault> PipeSink::fault() const {
  return error_ == 0 ? std::nullopt : std::optional(write_fault(std::strerror(error_)));
}

}  // namespace dh::io
