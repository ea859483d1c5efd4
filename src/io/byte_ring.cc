#include "io/byte_ring.hh"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.hh"
#include "io/listen_socket.hh"

namespace dh::io {

ByteRing::ByteRing(std::size_t capacity) : capacity_(capacity) {
  is_twice_ = map_twice();
  if (is_twice_) return;
  plain_.reset(new std::byte[capacity]);
  memory_ = plain_.get();
}

ByteRing::~ByteRing() {
  if (is_twice_) ::munmap(memory_, 2 * capacity_);
}

bool ByteRing::map_twice() {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (capacity_ % page != 0) return false;
  const Fd fd(::memfd_create("ring", MFD_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(capacity_)) != 0) return false;
  void* place = ::mmap(nullptr, 2 * capacity_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) return false;
  memory_ = static_cast<std::byte*>(place);
  for (std::byte* half : {memory_, memory_ + capacity_}) {
    if (::mmap(half, capacity_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0) != MAP_FAILED)
      continue;
    ::munmap(memory_, 2 * capacity_);
    return false;
  }
  return true;
}

ByteSpan ByteRing::free_locked() {
  if (size_ == 0) head_ %= kPage;  // start over in memory that is already touched
  const std::size_t tail = (head_ + size_) % capacity_;
  const std::size_t free = capacity_ - size_;
  return {memory_ + tail, is_twice_ ? free : std::min(free, capacity_ - tail)};
}

ByteView ByteRing::filled_locked() const {
  return {memory_ + head_, is_twice_ ? size_ : std::min(size_, capacity_ - head_)};
}

ByteSpan ByteRing::wait_free(std::size_t least) {
  std::unique_lock lock(mutex_);
  free_wanted_ = std::min(least, capacity_);
  changed_.wait(lock, [&] { return stopped_ || capacity_ - size_ >= free_wanted_; });
  free_wanted_ = 0;
  if (stopped_) return {};
  return free_locked();
}

ByteSpan ByteRing::free_now() {
  const std::lock_guard lock(mutex_);
  if (stopped_ || size_ == capacity_) return {};
  return free_locked();
}

std::size_t ByteRing::write_now(ByteView data) {
  std::size_t taken = 0;
  while (taken < data.size()) {
    const ByteSpan room = free_now();
    if (room.empty()) break;
    const std::size_t size = std::min(room.size(), data.size() - taken);
    std::memcpy(room.data(), data.data() + taken, size);
    produced(size);
    taken += size;
  }
  return taken;
}

void ByteRing::produced(std::size_t size) {
  const std::lock_guard lock(mutex_);
  CHECK(size <= capacity_ - size_);
  size_ += size;
  if (filled_wanted_ > 0 && size_ >= filled_wanted_) changed_.notify_all();
}

void ByteRing::end(std::string error) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  error_ = std::move(error);
  changed_.notify_all();
}

ByteView ByteRing::wait_filled(std::size_t least) {
  std::unique_lock lock(mutex_);
  filled_wanted_ = std::min(least, capacity_);
  changed_.wait(lock, [&] { return stopped_ || ended_ || size_ >= filled_wanted_; });
  filled_wanted_ = 0;
  if (stopped_) return {};
  return filled_locked();
}

ByteView ByteRing::wait_filled(std::size_t least, Duration patience) {
  std::unique_lock lock(mutex_);
  filled_wanted_ = std::min(least, capacity_);
  changed_.wait_for(lock, patience, [&] { return stopped_ || ended_ || size_ >= filled_wanted_; });
  filled_wanted_ = 0;
  if (stopped_) return {};
  return filled_locked();
}

ByteView ByteRing::filled_now() {
  const std::lock_guard lock(mutex_);
  return filled_locked();
}

std::size_t ByteRing::read_now(ByteSpan into) {
  std::size_t given = 0;
  while (given < into.size()) {
    const ByteView ready = filled_now();
    if (ready.empty()) break;
    const std::size_t size = std::min(ready.size(), into.size() - given);
    std::memcpy(into.data() + given, ready.data(), size);
    consumed(size);
    given += size;
  }
  return given;
}

void ByteRing::consumed(std::size_t size) {
  const std::lock_guard lock(mutex_);
  CHECK(size <= size_);
  head_ = (head_ + size) % capacity_;
  size_ -= size;
  if (free_wanted_ > 0 && capacity_ - size_ >= free_wanted_) changed_.notify_all();
}

void ByteRing::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

bool ByteRing::drained() const {
  const std::lock_guard lock(mutex_);
  return ended_ && size_ == 0;
}

bool ByteRing::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool ByteRing::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

std::string ByteRing::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace dh::io
