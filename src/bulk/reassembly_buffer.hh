#pragma once

#include "bulk/byte_ring.hh"
#include "bulk/interval_set.hh"
#include "bulk/limits.hh"
#include "bulk/stream_digest.hh"

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

  explicit ReassemblyBuffer(std::size_t window) : ring_(window), limit_(window) {}

  Outcome insert(std::uint64_t offset, ByteView bytes);
  ByteView readable() const { return ring_.view(consumed_, static_cast<std::size_t>(arrived_ - consumed_)); }
  void consume(std::size_t size);

  std::uint64_t consumed() const { return consumed_; }
  std::uint64_t arrived() const { return arrived_; }  // everything below is here
  std::uint64_t highest() const { return gaps_above_.empty() ? arrived_ : gaps_above_.back().end; }
  std::uint64_t digest() const { return digest_.value(); }  // of everything below arrived()
  std::size_t buffered_bytes() const {
    return static_cast<std::size_t>(arrived_ - consumed_) + out_of_order_;
  }

  /// The receive limit the sender may know of; it only rises, by advertise().
  std::uint64_t limit() const { return limit_; }
  std::uint64_t next_limit() const { return consumed_ + ring_.capacity(); }
  std::uint64_t advertise() { return limit_ = next_limit(); }
  std::size_t window() const { return ring_.capacity(); }
  void grow(std::size_t window) { ring_.grow(window, consumed_, highest()); }

private:
  void advance(std::uint64_t end);

  ByteRing ring_;
  std::uint64_t consumed_ = 0, arrived_ = 0, limit_;
  IntervalSet gaps_above_;  // what arrived above a gap
  std::size_t out_of_order_ = 0;
  StreamDigest digest_;
};

}  // namespace dh::bulk
