#include "bulk/stream_memory.hh"

#include <gtest/gtest.h>

#include "base/rng.hh"

namespace dh::bulk::test {
namespace {

constexpr std::size_t kChunk = StreamMemory::kChunkBytes;

TEST(StreamMemory, GivesBackWhatWasPutThereInPiecesThatEndWithAChunk) {
  StreamMemory memory;
  Bytes data(3 * kChunk);
  SeededRng rng(1);
  rng.fill(data);
  memory.write(kChunk / 2, data);
  EXPECT_EQ(memory.view(kChunk / 2, data.size()).size(), kChunk / 2);
  EXPECT_EQ(memory.view(kChunk, 10).size(), 10u);
  EXPECT_EQ(memory.room(4 * kChunk - 1, 10).size(), 1u);
  EXPECT_TRUE(memory.room(kChunk, 0).empty());
  Bytes out(data.size());
  memory.read(kChunk / 2, out);
  EXPECT_TRUE(equal_bytes(out, data));
}

/// A window that slides over a stream, filled in any order; the twin is the stream itself.
TEST(StreamMemory, HoldsAWindowOfAnyStream) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SeededRng rng(seed);
    StreamMemory memory;
    const std::size_t window = static_cast<std::size_t>(1 + rng.below(3 * kChunk));
    Bytes stream(6 * kChunk + static_cast<std::size_t>(rng.below(kChunk)));
    rng.fill(stream);
    for (std::size_t base = 0; base < stream.size();) {
      const std::size_t end = std::min(stream.size(), base + window);
      const std::size_t middle = base + static_cast<std::size_t>(rng.below(end - base));
      memory.write(middle, ByteView(stream).subspan(middle, end - middle));  // what comes later, first
      memory.write(base, ByteView(stream).subspan(base, middle - base));
      Bytes out(end - base);
      memory.read(base, out);
      ASSERT_TRUE(equal_bytes(out, ByteView(stream).subspan(base, out.size()))) << seed << " at " << base;
      base += static_cast<std::size_t>(1 + rng.below(end - base));
      memory.forget_below(base);
    }
  }
}

TEST(StreamMemory, ForgetsAcrossWhatWasNeverWritten) {
  StreamMemory memory;
  memory.forget_below(100 * kChunk + 5);
  memory.write(100 * kChunk + 5, Bytes(10, std::byte{7}));
  EXPECT_EQ(memory.view(100 * kChunk + 5, 10)[9], std::byte{7});
  memory.write(103 * kChunk, Bytes(1, std::byte{8}));
  memory.forget_below(102 * kChunk);
  memory.write(102 * kChunk, Bytes(kChunk, std::byte{9}));
  EXPECT_EQ(memory.view(103 * kChunk, 1)[0], std::byte{8});
}

}  // namespace
}  // namespace dh::bulk::test
