#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "base/rng.hh"
#include "quic/stream.hh"

namespace dh::quic {
namespace {

Bytes take(PieceQueue& queue, std::size_t size) {
  Bytes out;
  while (out.size() < size && queue.size() > 0) {
    const ByteView front = queue.front();
    const std::size_t taken = std::min(front.size(), size - out.size());
    out.insert(out.end(), front.begin(), front.begin() + static_cast<std::ptrdiff_t>(taken));
    queue.drop(taken);
  }
  return out;
}

TEST(PieceQueue, RoomsAreFilledInTheirOrder) {
  PiecePool pool;
  PieceQueue queue(pool);
  SeededRng rng(5);
  Bytes sent, got;
  for (int round = 0; round < 3'000; ++round) {
    std::array<ByteSpan, 5> rooms;
    const auto most = static_cast<std::size_t>(1 + rng.below(300'000));
    const std::size_t count =
        queue.rooms(std::span(rooms).first(static_cast<std::size_t>(1 + rng.below(rooms.size()))), most);
    ASSERT_GE(count, 1u);
    std::size_t all = 0;
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_FALSE(rooms[i].empty());
      all += rooms[i].size();
    }
    ASSERT_LE(all, most);
    const std::size_t size = rng.below(3) == 0 ? 0 : static_cast<std::size_t>(rng.below(all + 1));
    std::size_t left = size;
    for (std::size_t i = 0; i < count && left > 0; ++i) {
      const ByteSpan here = rooms[i].first(std::min(left, rooms[i].size()));
      rng.fill(here);
      sent.insert(sent.end(), here.begin(), here.end());
      left -= here.size();
    }
    queue.grow(size);
    if (rng.below(4) == 0) {
      Bytes more(static_cast<std::size_t>(rng.below(5'000)));
      rng.fill(more);
      queue.append(more);
      sent.insert(sent.end(), more.begin(), more.end());
    }
    ASSERT_EQ(queue.size(), sent.size() - got.size());
    const Bytes taken = take(queue, static_cast<std::size_t>(rng.below(400'000)));
    got.insert(got.end(), taken.begin(), taken.end());
  }
  const Bytes rest = take(queue, SIZE_MAX);
  got.insert(got.end(), rest.begin(), rest.end());
  EXPECT_TRUE(got == sent);
}

TEST(PieceQueue, WhoWaitsHoldsNoMemory) {
  PiecePool pool;
  PieceQueue queue(pool);
  std::array<ByteSpan, 5> rooms;
  ASSERT_EQ(queue.rooms(rooms, 256 << 10), 5u);
  queue.grow(0);
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_TRUE(queue.front().empty());
  std::array<ByteView, 2> fronts;
  EXPECT_EQ(queue.fronts(fronts), 0u);
}

}  // namespace
}  // namespace dh::quic
