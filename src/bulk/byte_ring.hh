#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/bytes.hh"
#include "base/check.hh"

namespace dh::bulk {

/// A window of a byte stream in a ring: absolute offsets [base, base + capacity). The memory is taken with
/// the first byte and left untouched (so uncommitted) until written; rewind() starts over at the front, so a
/// stream that is drained as fast as it fills stays within a few warm pages.
class ByteRing {
public:
  explicit ByteRing(std::size_t capacity) : capacity_(capacity) { CHECK(capacity > 0); }

  std::size_t capacity() const { return capacity_; }

  void write(std::uint64_t offset, ByteView bytes) {
    if (bytes.empty()) return;
    if (!memory_) memory_.reset(new std::byte[capacity_]);
    const std::size_t at = position(offset);
    const std::size_t first = std::min(bytes.size(), capacity_ - at);
    std::memcpy(memory_.get() + at, bytes.data(), first);
    if (first < bytes.size()) std::memcpy(memory_.get(), bytes.data() + first, bytes.size() - first);
  }

  void read(std::uint64_t offset, ByteSpan out) const {
    if (out.empty()) return;
    const std::size_t at = position(offset);
    const std::size_t first = std::min(out.size(), capacity_ - at);
    std::memcpy(out.data(), memory_.get() + at, first);
    if (first < out.size()) std::memcpy(out.data() + first, memory_.get(), out.size() - first);
  }

  /// The contiguous part of [offset, offset + size).
  ByteView view(std::uint64_t offset, std::size_t size) const {
    if (size == 0) return {};
    const std::size_t at = position(offset);
    return {memory_.get() + at, std::min(size, capacity_ - at)};
  }

  /// Makes room for more; keeps the bytes of [begin, end).
  void grow(std::size_t capacity, std::uint64_t begin, std::uint64_t end) {
    CHECK(capacity >= capacity_ && end - begin <= capacity_);
    std::unique_ptr<std::byte[]> bigger;
    if (memory_) {
      bigger.reset(new std::byte[capacity]);
      read(begin, {bigger.get(), static_cast<std::size_t>(end - begin)});
    }
    memory_ = std::move(bigger);
    capacity_ = capacity;
    origin_ = begin;
  }

  /// Nothing is stored: the byte at `offset` will go to the front.
  void rewind(std::uint64_t offset) { origin_ = offset; }

private:
  std::size_t position(std::uint64_t offset) const {
    return static_cast<std::size_t>((offset - origin_) % capacity_);
  }

  std::size_t capacity_;
  std::uint64_t origin_ = 0;
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace dh::bulk
