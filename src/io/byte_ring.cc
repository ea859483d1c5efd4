#include "io/byte_ring.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::io {

ByteSpan ByteRing::free_locked() {
  if (size_ == 0) head_ = 0;  // start over in memory that is already touched
  const std::size_t tail = (head_ + size_) % capacity_;
  const std::size_t contiguous = tail < head_ ? head_ - tail : capacity_ - tail;
  return {buffer_.get() + tail, std::min(contiguous, capacity_ - size_)};
}

ByteView ByteRing::filled_locked() const {
  return {buffer_.get() + head_, std::min(size_, capacity_ - head_)};
}

ByteSpan ByteRing::wait_free() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || size_ < capacity_; });
  if (stopped_) return {};
  return free_locked();
}

ByteSpan ByteRing::free_now() {
  const std::lock_guard lock(mutex_);
  if (stopped_ || size_ == capacity_) return {};
  return free_locked();
}

void ByteRing::produced(std::size_t size) {
  const std::lock_guard lock(mutex_);
  CHECK(size <= capacity_ - size_);
  size_ += size;
  changed_.notify_all();
}

void ByteRing::end(std::string error) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  error_ = std::move(error);
  changed_.notify_all();
}

ByteView ByteRing::wait_filled() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || ended_ || size_ > 0; });
  if (stopped_) return {};
  return filled_locked();
}

ByteView ByteRing::filled_now() {
  const std::lock_guard lock(mutex_);
  return filled_locked();
}

void ByteRing::consumed(std::size_t size) {
  const std::lock_guard lock(mutex_);
  CHECK(size <= size_);
  head_ = (head_ + size) % capacity_;
  size_ -= size;
  changed_.notify_all();
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
