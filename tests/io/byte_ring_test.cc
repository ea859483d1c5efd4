#include "io/byte_ring.hh"

#include <algorithm>
#include <thread>

#include <gtest/gtest.h>

#include "base/rng.hh"

namespace dh::io {
namespace {

constexpr std::size_t kPage = 4096;

void fill(ByteSpan span, unsigned from) {
  for (std::byte& b : span) b = static_cast<std::byte>(from++ * 7);
}
bool is_filled(ByteView view, unsigned from) {
  return std::all_of(view.begin(), view.end(),
                     [&](std::byte b) { return b == static_cast<std::byte>(from++ * 7); });
}

TEST(ByteRing, WhatWrapsAroundIsInOnePiece) {
  ByteRing ring(4 * kPage);
  unsigned written = 0, read = 0;
  for (const std::size_t size :
       {3 * kPage, 2 * kPage, 4 * kPage - 1, kPage + 17, std::size_t{5}, 4 * kPage}) {
    const ByteSpan room = ring.wait_free(size);
    ASSERT_GE(room.size(), size);
    fill(room.first(size), written);
    written += static_cast<unsigned>(size);
    ring.produced(size);
    const ByteView got = ring.wait_filled(size);
    ASSERT_EQ(got.size(), size);
    EXPECT_TRUE(is_filled(got, read));
    const std::size_t some = size == 3 * kPage ? 2 * kPage : got.size();  // so that the next one wraps
    ring.consumed(some);
    read += static_cast<unsigned>(some);
    if (some < got.size()) {
      EXPECT_TRUE(is_filled(ring.filled_now(), read));
      const std::size_t rest = got.size() - some;
      ring.consumed(rest);
      read += static_cast<unsigned>(rest);
    }
  }
}

TEST(ByteRing, ASizeThatIsNoPagesWorksInPieces) {
  ByteRing ring(10);
  fill(ring.wait_free(8).first(8), 0);
  ring.produced(8);
  ring.consumed(6);
  ByteSpan room = ring.wait_free(2);
  ASSERT_EQ(room.size(), 2u);
  fill(room, 8);
  ring.produced(2);
  room = ring.wait_free(6);
  ASSERT_EQ(room.size(), 6u);
  EXPECT_TRUE(is_filled(ring.filled_now(), 6));
}

TEST(ByteRing, MoreThanEverFitsIsNotWaitedFor) {
  ByteRing ring(kPage);
  EXPECT_EQ(ring.wait_free(10 * kPage).size(), kPage);
  ring.produced(kPage);
  EXPECT_EQ(ring.wait_filled(10 * kPage).size(), kPage);
}

TEST(ByteRing, TheEndAndAStopEndWaiting) {
  ByteRing ring(kPage);
  ring.produced(3);
  ring.end();
  EXPECT_EQ(ring.wait_filled(100).size(), 3u);
  ring.stop();
  EXPECT_TRUE(ring.wait_filled(100).empty());
  EXPECT_TRUE(ring.wait_free(100).empty());
}

TEST(ByteRing, CarriesEverythingBetweenTwoThreads) {
  constexpr std::size_t kAll = 1 << 20;
  ByteRing ring(2 * kPage);
  std::thread producer([&] {
    SeededRng rng(1);
    for (std::size_t at = 0; at < kAll;) {
      const std::size_t size = std::min<std::size_t>(kAll - at, 1 + rng.below(kPage));
      const ByteSpan room = ring.wait_free(size);
      const std::size_t now = std::min(room.size(), size);
      fill(room.first(now), static_cast<unsigned>(at));
      ring.produced(now);
      at += now;
    }
    ring.end();
  });
  SeededRng rng(2);
  std::size_t at = 0;
  bool right = true;
  for (;;) {
    const ByteView got = ring.wait_filled(1 + rng.below(kPage));
    if (got.empty()) break;
    right = right && is_filled(got, static_cast<unsigned>(at));
    at += got.size();
    ring.consumed(got.size());
  }
  producer.join();
  EXPECT_TRUE(right);
  EXPECT_EQ(at, kAll);
}

}  // namespace
}  // namespace dh::io
