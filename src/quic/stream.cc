#include "quic/stream.hh"

#include <algorithm>
#include <cstring>

#include "base/check.hh"

namespace dh::quic {
namespace {

constexpr std::size_t kSmallPiece = 2 << 10;
constexpr std::size_t kLargePiece = PiecePool::kBlockBytes;

}  // namespace

PiecePool::Block PiecePool::take() {
  if (spare_.empty()) return std::make_unique_for_overwrite<std::byte[]>(kBlockBytes);
  Block out = std::move(spare_.back());
  spare_.pop_back();
  return out;
}

void PiecePool::give(Block block) {
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(block));
}

// A short question gets a small piece, the second of a stream that goes on a large one.
PieceQueue::Piece& PieceQueue::last_with_room(std::size_t wanted) {
  if (pieces_.empty() || pieces_.back().end == pieces_.back().capacity) {
    const std::size_t capacity = std::clamp(wanted, pieces_.empty() ? kSmallPiece : kLargePiece, kLargePiece);
    auto bytes =
        capacity == kLargePiece ? pool_->take() : std::make_unique_for_overwrite<std::byte[]>(capacity);
    pieces_.push_back({std::move(bytes), capacity, 0, 0});
  }
  return pieces_.back();
}

void PieceQueue::append(ByteView data) {
  size_ += data.size();
  while (!data.empty()) {
    Piece& last = last_with_room(data.size());
    const std::size_t taken = std::min(data.size(), last.capacity - last.end);
    std::memcpy(last.bytes.get() + last.end, data.data(), taken);
    last.end += taken;
    data = data.subspan(taken);
  }
}

std::size_t PieceQueue::rooms(std::span<ByteSpan> out, std::size_t most) {
  offered_ = 0;
  for (std::size_t wanted = most; offered_ < out.size() && (wanted > 0 || offered_ == 0);) {
    if (offered_ > 0) pieces_.push_back({pool_->take(), kLargePiece, 0, 0});
    Piece& piece = offered_ > 0 ? pieces_.back() : last_with_room(0);
    const std::size_t free = std::min(piece.capacity - piece.end, wanted);
    out[offered_++] = {piece.bytes.get() + piece.end, free};
    wanted -= free;
  }
  return offered_;
}

void PieceQueue::grow(std::size_t size) {
  size_ += size;
  for (; offered_ > 0; --offered_) {
    Piece& piece = pieces_[pieces_.size() - offered_];
    const std::size_t taken = std::min(size, piece.capacity - piece.end);
    piece.end += taken;
    size -= taken;
  }
  CHECK(size == 0);
  while (!pieces_.empty() && pieces_.back().begin == pieces_.back().end) {
    let_go(pieces_.back());  // nothing came: who waits holds no memory
    pieces_.pop_back();
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
    if (first.begin == first.end) drop_front();
  }
}

void PieceQueue::drop_front() {
  let_go(pieces_.front());
  pieces_.pop_front();
}

void PieceQueue::let_go(Piece& piece) {
  if (piece.capacity == kLargePiece) pool_->give(std::move(piece.bytes));
}

ByteView PieceQueue::front() const {
  if (pieces_.empty()) return {};
  const Piece& first = pieces_.front();
  return {first.bytes.get() + first.begin, first.end - first.begin};
}

std::size_t PieceQueue::fronts(std::span<ByteView> out) const {
  const std::size_t count = std::min(out.size(), pieces_.size());
  for (std::size_t i = 0; i < count; ++i) {
    const Piece& piece = pieces_[i];
    out[i] = {piece.bytes.get() + piece.begin, piece.end - piece.begin};
  }
  return count;
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

}  // namespace dh::quic
