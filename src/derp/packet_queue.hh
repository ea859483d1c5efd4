#pragma once

#include <vector>

#include "base/bytes.hh"
#include "crypto/keys.hh"
#include "wire/derp_frame.hh"

namespace dh::derp {

/// Keeps buffers warm that packets and batches come and go in, so that a busy relay does not allocate.
/// A resource shared by all connections of one server.
class BufferPool {
public:
  static constexpr std::size_t kMaxKeptBytes = 16u << 20;  // beyond, buffers go back to the allocator

  /// An empty buffer, with capacity for `size` bytes if one such is kept.
  Bytes take(std::size_t size);
  /// An empty buffer that grows with its content: the largest kind at hand.
  Bytes take_any();
  void give(Bytes&& buffer);
  std::size_t kept_bytes() const { return kept_bytes_; }

private:
  static constexpr std::size_t kSmall =
      2048;  // bytes: an ordinary packet, so it never sits in a 64 KiB buffer

  std::vector<Bytes> small_;
  std::vector<Bytes> large_;
  std::size_t kept_bytes_ = 0;
};

/// Appends one whole RecvPacket frame: the only copy of a packet on its way through an idle relay.
void append_recv_packet(Bytes& out, const PublicKey& from, ByteView packet);

/// Packets waiting for one slow client, as RecvPacket frames. Full: the oldest makes room, because to the
/// ends of a relay a fresh packet is worth more than a stale one. A value apart from its pool.
class PacketQueue {
public:
  PacketQueue(BufferPool& pool, std::size_t capacity) : pool_(pool), capacity_(capacity) {}

  /// true: the oldest packet was dropped for this one (or this one, when nothing may wait at all).
  bool push(const PublicKey& from, ByteView packet);
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  /// The oldest frame. Only when not empty().
  ByteView front() const { return ring_[first_]; }
  void pop();
  void clear();

private:
  BufferPool& pool_;
  std::size_t capacity_;
  std::vector<Bytes> ring_;  // empty until the first push: most clients never need one
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace dh::derp
