#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.hh"
#include "base/time.hh"

namespace dh::io {

/// A bounded byte queue between one thread that may block (files, pipes) and the network loop, which may not.
/// The memory is touched only as far as it is used, so an idle ring costs little. It is mapped twice, one
/// behind the other, so that what wraps around is in one piece; where the system does not let us, a span ends
/// where the memory does. If the capacity is a multiple of kPage, the n-th byte that passes lies at n modulo
/// kPage in a page. What both sides wait for at once must fit together.
class ByteRing {
public:
  static constexpr std::size_t kPage = 4096;

  explicit ByteRing(std::size_t capacity);
  ~ByteRing();
  ByteRing(const ByteRing&) = delete;

  // Producer's side.
  /// Waits until there is room, for `least` bytes if that many ever fit; an empty span: closed by the
  /// consumer. In one piece as far as the memory is, see above. Asking for many saves waking up for few.
  ByteSpan wait_free(std::size_t least = 1);
  ByteSpan free_now();
  std::size_t write_now(ByteView data);  // bytes taken; never waits
  void produced(std::size_t size);
  /// No more bytes will come; `error` in words when that is not a clean end.
  void end(std::string error = {});

  // Consumer's side.
  /// Waits until there are bytes, `least` if that many ever fit and come; empty: ended (or stopped) and
  /// drained.
  ByteView wait_filled(std::size_t least = 1);
  /// No longer than `patience` for that many; then what there is, perhaps nothing.
  ByteView wait_filled(std::size_t least, Duration patience);
  ByteView filled_now();
  std::size_t read_now(ByteSpan into);  // bytes given; never waits
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
  bool map_twice();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  const std::size_t capacity_;
  std::byte* memory_ = nullptr;  // of capacity_ bytes, twice that many once mapped
  bool is_twice_ = false;
  std::unique_ptr<std::byte[]> plain_;  // where it could not be mapped
  std::size_t head_ = 0;                // next byte to consume
  std::size_t size_ = 0;
  std::size_t free_wanted_ = 0;    // somebody waits for so much room
  std::size_t filled_wanted_ = 0;  // ... for so many bytes
  bool ended_ = false;
  bool stopped_ = false;
  std::string error_;
};

}  // namespace dh::io
