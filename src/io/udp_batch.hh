#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/address.hh"
#include "bulk/keys.hh"

namespace dh::io {

/// Datagrams that will leave in one system call (UDP_SEGMENT): consecutive, to one place, of one size but for
/// the last, which may be shorter. They lie where they were built; nothing is copied to put them side by
/// side.
class UdpBatch {
public:
  static constexpr std::size_t kMaxDatagram = 65'536;  // bytes that room() always has
  static constexpr std::size_t kMaxSegments = 44;      // the kernel takes 64
  static constexpr std::size_t kMaxBytes = 65'000;     // and 65,507 in all

  UdpBatch() : buffer_(3 * kMaxDatagram) {}

  /// Where the next datagram may be built, so that add() need not copy it.
  ByteSpan room() { return ByteSpan(buffer_).subspan(end_, kMaxDatagram); }
  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  std::size_t segment_bytes() const { return segment_; }
  ByteView bytes() const { return ByteView(buffer_).subspan(begin_, end_ - begin_); }

  bool fits(std::size_t size) const {
    return count_ == 0 || (!last_was_short_ && size <= segment_ && count_ < kMaxSegments &&
                           end_ - begin_ + size <= kMaxBytes);
  }
  /// `seal`: what must be applied to it before it leaves; empty: it is ready.
  void add(ByteView datagram, bulk::Seal seal = {}) {
    if (datagram.data() != buffer_.data() + end_)
      std::memmove(buffer_.data() + end_, datagram.data(), datagram.size());
    seals_[count_] = std::move(seal);
    if (count_++ == 0) segment_ = datagram.size();
    last_was_short_ = datagram.size() < segment_;
    end_ += datagram.size();
  }
  /// Applies every seal.
  void seal() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (!seals_[i]) continue;
      const std::size_t at = begin_ + i * segment_;
      std::exchange(seals_[i], {}).apply(ByteSpan(buffer_).subspan(at, std::min(segment_, end_ - at)));
    }
  }
  /// What was in it has left. `kept`: a datagram built in room() that is to be added next, else empty; it
  /// stays where it is.
  void clear(ByteView kept = {}) {
    const bool stays = kept.data() == buffer_.data() + end_ && end_ + 2 * kMaxDatagram <= buffer_.size();
    begin_ = end_ = stays ? end_ : 0;  // otherwise add() moves it to the front
    count_ = 0;
    last_was_short_ = false;
  }

private:
  Bytes buffer_;
  std::array<bulk::Seal, kMaxSegments> seals_;
  std::size_t begin_ = 0, end_ = 0, segment_ = 0, count_ = 0;
  bool last_was_short_ = false;
};

}  // namespace dh::io
