#pragma once

#include <algorithm>

#include "bulk/interval_set.hh"
#include "bulk/limits.hh"
#include "bulk/stream_digest.hh"
#include "bulk/stream_memory.hh"

namespace dh::bulk {

/// Puts stream bytes in order, in whatever order and overlap they come, and hands each out once.
class ReassemblyBuffer {
public:
  enum class Outcome : std::uint8_t {
    New,          // some bytes were new
    Duplicate,    // all were here already
    TooFar,       // beyond limit(): the peer broke its promise
    TooManyGaps,  // would need more bookkeeping than we allow: as if it had not arrived
  };

  /// `window` bytes to begin with; at most `most` of them are ever held.
  ReassemblyBuffer(std::size_t window, std::size_t most)
      : limit_(window), window_(window), most_(std::max(window, most)) {}

  Outcome insert(std::uint64_t offset, ByteView bytes);
  ByteView readable() const {
    return memory_.view(consumed_, static_cast<std::size_t>(arrived_ - consumed_));
  }
  void consume(std::size_t size);

  std::uint64_t consumed() const { return consumed_; }
  std::uint64_t arrived() const { return arrived_; }  // everything below is here
  std::uint64_t highest() const { return gaps_above_.empty() ? arrived_ : gaps_above_.back().end; }
  std::uint64_t behind_gap() const { return highest() - arrived_; }  // holes between them counted in
  std::uint64_t digest() const { return digest_.value(); }           // of everything below arrived()
  std::size_t buffered_bytes() const {
    return static_cast<std::size_t>(arrived_ - consumed_) + out_of_order_;
  }

  /// The receive limit the sender may know of; it only rises, by advertise().
  std::uint64_t limit() const { return limit_; }
  std::uint64_t next_limit() const {
    return std::max(limit_, consumed_ + std::min<std::uint64_t>(window_ + behind_gap(), most_));
  }
  std::uint64_t advertise() { return limit_ = next_limit(); }
  /// The limit's distance from what was consumed, not counting what waits behind a gap.
  std::uint64_t window() const { return window_; }
  void set_window(std::uint64_t bytes) { window_ = std::min<std::uint64_t>(bytes, most_); }

private:
  void advance(std::uint64_t end);

  StreamMemory memory_;
  std::uint64_t consumed_ = 0, arrived_ = 0, limit_;
  std::uint64_t window_;
  std::size_t most_;
  IntervalSet gaps_above_;  // what arrived above a gap
  std::size_t out_of_order_ = 0;
  StreamDigest digest_;
};

}  // namespace dh::bulk
