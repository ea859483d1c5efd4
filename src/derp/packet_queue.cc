#include "derp/packet_queue.hh"

#include <utility>

#include "base/check.hh"

namespace dh::derp {

Bytes BufferPool::take(std::size_t size) {
  auto& kept = size <= kSmall ? small_ : large_;
  Bytes buffer;
  if (!kept.empty()) {
    buffer = std::move(kept.back());
    kept.pop_back();
    kept_bytes_ -= buffer.capacity();
  }
  if (size <= kSmall) size = kSmall;
  buffer.reserve(size);
  return buffer;
}

Bytes BufferPool::take_any() {
  auto& kept = large_.empty() ? small_ : large_;
  if (kept.empty()) return {};
  Bytes buffer = std::move(kept.back());
  kept.pop_back();
  kept_bytes_ -= buffer.capacity();
  return buffer;
}

void BufferPool::give(Bytes&& buffer) {
  Bytes mine = std::move(buffer);
  if (mine.capacity() == 0 || kept_bytes_ + mine.capacity() > kMaxKeptBytes) return;
  mine.clear();
  kept_bytes_ += mine.capacity();
  (mine.capacity() <= kSmall ? small_ : large_).push_back(std::move(mine));
}

void append_recv_packet(Bytes& out, const PublicKey& from, ByteView packet) {
  ByteArray<wire::derp::kFrameHeaderSize + wire::derp::kDerpKeySize> head;
  const std::size_t length = wire::derp::kDerpKeySize + packet.size();
  wire::derp::FrameHeader{wire::derp::FrameType::RecvPacket, static_cast<std::uint32_t>(length)}.write_to(
      head.data());
  std::memcpy(head.data() + wire::derp::kFrameHeaderSize, from.bytes.data(), wire::derp::kDerpKeySize);
  out.insert(out.end(), head.begin(), head.end());
  out.insert(out.end(), packet.begin(), packet.end());
}

bool PacketQueue::push(const PublicKey& from, ByteView packet) {
  if (capacity_ == 0) return true;
  if (ring_.empty()) ring_.resize(capacity_);
  const bool full = count_ == capacity_;
  if (full) pop();
  Bytes& slot = ring_[(first_ + count_) % capacity_];
  slot = pool_.take(wire::derp::kFrameHeaderSize + wire::derp::kDerpKeySize + packet.size());
  append_recv_packet(slot, from, packet);
  ++count_;
  return full;
}

void PacketQueue::pop() {
  CHECK(count_ > 0);
  pool_.give(std::move(ring_[first_]));
  first_ = (first_ + 1) % capacity_;
  --count_;
}

void PacketQueue::clear() {
  while (count_ > 0) pop();
}

}  // namespace dh::derp
