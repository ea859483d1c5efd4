#pragma once

#include <deque>
#include <memory>
#include <ngtcp2/ngtcp2.h>
#include <vector>

#include "base/bytes.hh"
#include "quic/connection.hh"
#include "quic/receive_window.hh"

namespace dh::quic {

/// Large pieces that were used up, for the next who needs one: giving them back to the system and asking
/// again would cost a page fault for every 4 KiB. Outlives the queues that use it.
class PiecePool {
public:
  using Block = std::unique_ptr<std::byte[]>;
  static constexpr std::size_t kBlockBytes = 64 << 10;
  static constexpr std::size_t kMaxSpare = 32;  // 2 MiB: what a busy stream lets go of at once

  Block take();
  void give(Block block);

private:
  std::vector<Block> spare_;
};

/// Bytes in the order they came, in pieces that stay where they are until they are dropped.
class PieceQueue {
public:
  explicit PieceQueue(PiecePool& pool) : pool_(&pool) {}
  void append(ByteView data);
  /// Where the next bytes may be put, in this order: at least one, in as many pieces as it takes for `most`
  /// bytes or as `out` has room for. Returns how many. Then grow() by as many as there are, perhaps none.
  std::size_t rooms(std::span<ByteSpan> out, std::size_t most);
  void grow(std::size_t size);
  /// Drops the first `size` bytes.
  void drop(std::size_t size);
  ByteView front() const;
  /// The first pieces, as many as `out` has room for. Returns how many.
  std::size_t fronts(std::span<ByteView> out) const;
  /// Views of what lies behind the first `skip` bytes, at most `most` bytes, into `out`. Returns how many
  /// views.
  std::size_t gather(std::size_t skip, std::size_t most, std::span<ngtcp2_vec> out) const;
  std::size_t size() const { return size_; }

private:
  struct Piece {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t capacity = 0, begin = 0, end = 0;
  };
  Piece& last_with_room(std::size_t wanted);
  void drop_front();
  void let_go(Piece& piece);

  PiecePool* pool_;
  std::deque<Piece> pieces_;
  std::size_t size_ = 0;
  std::size_t offered_ = 0;  // pieces at the end that rooms() gave out
};

/// Written, and kept until the peer has acknowledged it.
class SendBuffer {
public:
  explicit SendBuffer(PiecePool& pool) : pieces_(pool) {}
  void append(ByteView data) { pieces_.append(data); }
  std::size_t rooms(std::span<ByteSpan> out, std::size_t most) { return pieces_.rooms(out, most); }
  void grow(std::size_t size) { pieces_.grow(size); }
  std::size_t unsent() const { return pieces_.size() - in_flight_; }
  std::size_t gather(std::size_t most, std::span<ngtcp2_vec> out) const {
    return pieces_.gather(in_flight_, most, out);
  }
  void on_sent(std::size_t size) { in_flight_ += size; }
  void on_acknowledged(std::size_t size);

private:
  PieceQueue pieces_;
  std::size_t in_flight_ = 0;
};

/// One stream as Connection sees it.
struct Stream {
  Stream(StreamId id_in, PiecePool& pool, WindowBudget& budget)
      : id(id_in), send(pool), receive(pool), window(budget) {}

  StreamId id;
  SendBuffer send;
  PieceQueue receive;
  ReceiveWindow window;
  bool finishing = false;      // finish() was called
  bool end_sent = false;       // ... and the peer will hear of it
  bool send_over = false;      // reset by us
  bool end_received = false;   // of the peer's bytes
  bool receive_over = false;   // reset by the peer, or stopped by us
  bool readable_told = false;  // an event is on its way to somebody who has not looked since
  bool writable_wanted = false;
  bool closed = false;    // QUIC is through with it
  bool released = false;  // so is everybody else
};

}  // namespace dh::quic
