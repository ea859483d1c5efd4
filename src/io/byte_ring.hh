#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.hh"

namespace dh::io {

/// A bounded byte queue between one thread that may block (files, pipes) and the network loop, which may not.
/// The memory is touched only as far as it is used, so an idle ring costs little.
class ByteRing {
public:
  explicit ByteRing(std::size_t capacity) : buffer_(new std::byte[capacity]), capacity_(capacity) {}

  // Producer's side.
  /// Waits until there is room; an empty span: closed by the consumer.
  ByteSpan wait_free();
  ByteSpan free_now();
  void produced(std::size_t size);
  /// No more bytes will come; `error` in words when that is not a clean end.
  void end(std::string error = {});

  // Consumer's side.
  /// Waits until there are bytes; empty: ended (or stopped) and drained.
  ByteView wait_filled();
  ByteView filled_now();
  void consumed(std::size_t size);
  /// The consumer wants nothing more; wakes both sides.
  void stop();

  bool drained() const;  // ended and empty
  bool ended() const;
  bool stopped() const;
  std::string error() const;

private:
  ByteSpan free_locked();
  ByteView filled_locked() const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<std::byte[]> buffer_;
  const std::size_t capacity_;
  std::size_t head_ = 0;  // next byte to consume
  std::size_t size_ = 0;
  bool ended_ = false;
  bool stopped_ = false;
  std::string error_;
};

}  // namespace dh::io
