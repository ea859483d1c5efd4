#pragma once

#include "bulk/interval_set.hh"
#include "bulk/limits.hh"
#include "bulk/stream_memory.hh"

namespace dh::bulk {

/// Stream bytes from the moment they are written until they are acked, and which of them must go (again).
/// acked .. | confirmed ... base | in flight, acked or lost ... next | never sent ... end
class SendBuffer {
public:
  struct Chunk {
    std::uint64_t offset = 0;
    std::size_t size = 0;
    bool is_new = false;  // never sent before
  };

  /// `capacity`: bytes that are not acked, at most. They may lie half as much further apart: what is acked
  /// between them needs little memory where holes are few, and as much as they where each packet is one.
  explicit SendBuffer(std::size_t capacity) : capacity_(capacity) {}

  std::size_t write(ByteView data);
  /// Where the next bytes go, in one piece: for who can produce them there. Valid until the next call.
  ByteSpan room();
  /// So many bytes were put into room(); they are these.
  ByteView commit(std::size_t size);
  std::size_t capacity() const { return capacity_; }
  void grow(std::size_t capacity) { capacity_ = std::max(capacity_, capacity); }
  std::size_t writable() const {
    const auto span = static_cast<std::size_t>(end_ - base_);
    return std::min(capacity_ - unacked(), capacity_ + capacity_ / 2 - span);
  }
  /// With less room than this nobody is asked for more.
  std::size_t least_room() const { return std::min(kLeastRoom, capacity_ / 8); }
  /// Bytes written and not acked.
  std::size_t unacked() const { return static_cast<std::size_t>(end_ - base_ - acked_bytes_); }

  /// The next bytes to send, at most `max`: lost ones first, then new ones below `limit`. Empty: nothing may
  /// go.
  std::optional<Chunk> next_chunk(std::size_t max, std::uint64_t limit) const;
  /// next_chunk()'s answer is on its way: copies it into `out`, which has its size.
  void take(const Chunk& chunk, ByteSpan out);

  void on_acked(std::uint64_t offset, std::uint64_t size);
  /// Queues what is not acked for sending again.
  void on_lost(std::uint64_t offset, std::uint64_t size);
  void on_all_acked() { on_acked(base_, next_ - base_); }

  std::uint64_t confirmed() const { return base_; }  // everything below is acked
  std::uint64_t next_offset() const { return next_; }
  std::uint64_t end() const { return end_; }
  bool has_lost() const { return !lost_.empty(); }
  bool has_new() const { return next_ < end_; }

  /// What it all takes, in steps of a chunk.
  std::size_t memory_bytes() const { return memory_.chunks() * StreamMemory::kChunkBytes; }

private:
  void forget_chunks(std::uint64_t from, std::uint64_t to);

  std::size_t capacity_;
  StreamMemory memory_;
  std::uint64_t base_ = 0, next_ = 0, end_ = 0;
  IntervalSet acked_;              // above base_ ...
  std::uint64_t acked_bytes_ = 0;  // ... so many
  IntervalSet lost_;               // to be sent again; disjoint from acked_
};

}  // namespace dh::bulk
