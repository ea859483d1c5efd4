#include "bulk/send_buffer.hh"

namespace dh::bulk {

std::size_t SendBuffer::write(ByteView data) {
  const ByteView accepted = data.first(std::min(data.size(), writable()));
  memory_.write(end_, accepted);
  end_ += accepted.size();
  return accepted.size();
}

ByteSpan SendBuffer::room() {
  return memory_.room(end_, writable());
}

ByteView SendBuffer::commit(std::size_t size) {
  CHECK(size <= writable());
  const ByteView bytes = memory_.view(end_, size);
  CHECK(bytes.size() == size);
  end_ += size;
  return bytes;
}

std::optional<SendBuffer::Chunk> SendBuffer::next_chunk(std::size_t max, std::uint64_t limit) const {
  if (max == 0) return std::nullopt;
  if (!lost_.empty()) {
    const auto& first = lost_.front();
    return Chunk{first.begin, static_cast<std::size_t>(std::min<std::uint64_t>(first.end - first.begin, max)),
                 false};
  }
  const std::uint64_t stop = std::min(end_, limit);
  if (next_ >= stop) return std::nullopt;
  return Chunk{next_, static_cast<std::size_t>(std::min<std::uint64_t>(stop - next_, max)), true};
}

void SendBuffer::take(const Chunk& chunk, ByteSpan out) {
  memory_.read(chunk.offset, out);
  if (chunk.is_new) {
    next_ += chunk.size;
  } else {
    lost_.remove(chunk.offset, chunk.offset + chunk.size);
  }
}

void SendBuffer::on_acked(std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t end = offset + size;
  if (end <= base_) return;
  lost_.remove(offset, end);
  if (offset > base_) {
    acked_.for_each_gap(offset, end,
                        [this](std::uint64_t from, std::uint64_t to) { acked_bytes_ += to - from; });
    acked_.add(offset, end);
    forget_chunks(offset, end);
    return;
  }
  base_ = end;
  while (!acked_.empty() && acked_.front().begin <= base_) {
    const IntervalSet::Interval first = acked_.front();
    base_ = std::max(base_, first.end);
    acked_bytes_ -= first.end - first.begin;
    acked_.remove(first.begin, first.end);
  }
  memory_.forget_below(base_);
}

/// A hole that waits for its repair keeps only what is around it: behind it a round trip's worth may be
/// acked.
void SendBuffer::forget_chunks(std::uint64_t from, std::uint64_t to) {
  constexpr std::uint64_t kChunk = StreamMemory::kChunkBytes;
  for (std::uint64_t index = from / kChunk; index * kChunk < to; ++index)
    if (acked_.contains(index * kChunk, (index + 1) * kChunk)) memory_.forget_chunk(index);
}

void SendBuffer::on_lost(std::uint64_t offset, std::uint64_t size) {
  if (offset + size <= base_) return;
  acked_.for_each_gap(std::max(offset, base_), offset + size,
                      [this](std::uint64_t begin, std::uint64_t end) { lost_.add(begin, end); });
}

}  // namespace dh::bulk
