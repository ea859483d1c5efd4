#include "quic/stream.hh"

#include <algorithm>
#include <cstring>

#include "base/check.hh"

namespace dh::quic {
namespace {

constexpr std::size_t kSmallPiece = 2 << 10;
constexpr std::size_t kLargePiece = 64 << 10;

}  // namespace

void PieceQueue::append(ByteView data) {
  size_ += data.size();
  while (!data.empty()) {
    if (pieces_.empty() || pieces_.back().end == pieces_.back().capacity) {
      // A short question gets a small piece, the second of a stream that goes on a large one.
      const std::size_t usual = pieces_.empty() ? kSmallPiece : kLargePiece;
      const std::size_t capacity = std::clamp(data.size(), usual, kLargePiece);
      pieces_.push_back({std::make_unique_for_overwrite<std::byte[]>(capacity), capacity, 0, 0});
    }
    Piece& last = pieces_.back();
    const std::size_t taken = std::min(data.size(), last.capacity - last.end);
    std::memcpy(last.bytes.get() + last.end, data.data(), taken);
    last.end += taken;
    data = data.subspan(taken);
  }
}

void PieceQueue::drop(std::size_t size) {
  CHECK(size <= size_);
  size_ -= size;
  while (size > 0) {
    Piece& first = pieces_.front();
    const std::size_t taken = std::min(size, first.end - first.begin);
    first.begin += taken;
    size -= taken;
    if (first.begin == first.end) pieces_.pop_front();
  }
}

ByteView PieceQueue::front() const {
  if (pieces_.empty()) return {};
  const Piece& first = pieces_.front();
  return {first.bytes.get() + first.begin, first.end - first.begin};
}

std::size_t PieceQueue::gather(std::size_t skip, std::size_t most, std::span<ngtcp2_vec> out) const {
  std::size_t views = 0;
  for (const Piece& piece : pieces_) {
    if (views == out.size() || most == 0) break;
    const std::size_t size = piece.end - piece.begin;
    if (skip >= size) {
      skip -= size;
      continue;
    }
    const std::size_t taken = std::min(size - skip, most);
    out[views].base = reinterpret_cast<std::uint8_t*>(piece.bytes.get() + piece.begin + skip);
    out[views].len = taken;
    ++views;
    most -= taken;
    skip = 0;
  }
  return views;
}

void SendBuffer::on_acknowledged(std::size_t size) {
  CHECK(size <= in_flight_);
  in_flight_ -= size;
  pieces_.drop(size);
}

std::uint64_t WindowTuner::on_read(std::uint64_t size, std::uint64_t most, Duration rtt, Instant now) {
  std::uint64_t moved = size;
  if (!since_) since_ = now;
  read_since_ += size;
  if (read_since_ < window_ / 2) return moved;
  if (now - *since_ <= 2 * rtt && window_ < most) {
    const std::uint64_t larger = std::min(2 * window_, most);
    moved += larger - window_;
    window_ = larger;
  }
  since_ = now;
  read_since_ = 0;
  return moved;
}

}  // namespace dh::quic
