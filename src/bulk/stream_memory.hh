#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "base/bytes.hh"
#include "base/check.hh"

namespace dh::bulk {

/// Memory for the part of a byte stream that is in use, by absolute offset. It is taken in chunks when bytes
/// are put there and given back once they are forgotten: what it costs follows what it holds, not what it
/// might hold. A stream that is drained as fast as it fills stays in the same few warm chunks.
class StreamMemory {
public:
  static constexpr std::size_t kChunkBytes = 256 * 1024;

  void write(std::uint64_t offset, ByteView bytes) {
    while (!bytes.empty()) {
      const ByteSpan to = room(offset, bytes.size());
      std::memcpy(to.data(), bytes.data(), to.size());
      bytes = bytes.subspan(to.size());
      offset += to.size();
    }
  }

  /// Where the bytes from `offset` on go: at most `size`, in one piece.
  ByteSpan room(std::uint64_t offset, std::size_t size) {
    if (size == 0) return {};
    const std::size_t at = offset % kChunkBytes;
    return {chunk(offset / kChunkBytes) + at, std::min(size, kChunkBytes - at)};
  }

  /// What was written from `offset` on: at most `size`, in one piece.
  ByteView view(std::uint64_t offset, std::size_t size) const {
    if (size == 0) return {};
    const std::size_t at = offset % kChunkBytes;
    return {written(offset / kChunkBytes) + at, std::min(size, kChunkBytes - at)};
  }

  void read(std::uint64_t offset, ByteSpan out) const {
    while (!out.empty()) {
      const ByteView from = view(offset, out.size());
      std::memcpy(out.data(), from.data(), from.size());
      out = out.subspan(from.size());
      offset += from.size();
    }
  }

  /// Nothing below `offset` will be asked for again.
  void forget_below(std::uint64_t offset) {
    for (const std::uint64_t first = offset / kChunkBytes; first_ < first && !chunks_.empty(); ++first_) {
      give_back(chunks_.front());
      chunks_.pop_front();
    }
    if (chunks_.empty()) first_ = std::max(first_, offset / kChunkBytes);
  }
  /// Nor anything of chunk number `index`.
  void forget_chunk(std::uint64_t index) {
    if (index >= first_ && index - first_ < chunks_.size())
      give_back(chunks_[static_cast<std::size_t>(index - first_)]);
  }
  std::size_t chunks() const {  // in use
    return static_cast<std::size_t>(
        std::count_if(chunks_.begin(), chunks_.end(), [](const Chunk& chunk) { return chunk != nullptr; }));
  }

private:
  using Chunk = std::unique_ptr<std::byte[]>;
  static constexpr std::size_t kMostSpare = 2;

  void give_back(Chunk& chunk) {
    if (chunk && spare_.size() < kMostSpare) spare_.push_back(std::move(chunk));
    chunk.reset();
  }
  std::byte* chunk(std::uint64_t index) {
    CHECK(index >= first_);
    const auto at = static_cast<std::size_t>(index - first_);
    if (at >= chunks_.size()) chunks_.resize(at + 1);
    Chunk& found = chunks_[at];
    if (!found && !spare_.empty()) {
      found = std::move(spare_.back());
      spare_.pop_back();
    }
    if (!found) found.reset(new std::byte[kChunkBytes]);
    return found.get();
  }
  const std::byte* written(std::uint64_t index) const {
    const auto at = static_cast<std::size_t>(index - first_);
    CHECK(index >= first_ && at < chunks_.size() && chunks_[at]);
    return chunks_[at].get();
  }

  std::uint64_t first_ = 0;   // the index of chunks_.front()
  std::deque<Chunk> chunks_;  // empty where nothing was written yet
  std::vector<Chunk> spare_;  // the last that were given back, still warm
};

}  // namespace dh::bulk
