// Interval sets, ack ranges, buffers: each against a naive twin.

#include <set>

#include <gtest/gtest.h>

#include "base/rng.hh"
#include "bulk/ack_tracker.hh"
#include "bulk/interval_set.hh"
#include "bulk/reassembly_buffer.hh"
#include "bulk/replay_window.hh"
#include "bulk/send_buffer.hh"

namespace dh::bulk {
namespace {

TEST(IntervalSet, AgreesWithASetOfIntegers) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SeededRng rng(seed);
    IntervalSet set;
    std::set<std::uint64_t> twin;
    for (int i = 0; i < 200; ++i) {
      const std::uint64_t begin = rng.below(100), end = begin + rng.below(20);
      const std::uint64_t what = rng.below(5);
      if (what < 3) {
        const std::size_t expected = set.size_after_add(begin, end);
        set.add(begin, end);
        EXPECT_EQ(set.size(), expected);
        for (auto n = begin; n < end; ++n) twin.insert(n);
      } else {
        const std::uint64_t from = what == 3 ? begin : 0;
        if (what == 3)
          set.remove(begin, end);
        else
          set.remove_below(end / 4);
        for (auto n = from; n < (what == 3 ? end : end / 4); ++n) twin.erase(n);
      }
      bool all = true;
      for (auto n = begin; n < end; ++n) all = all && twin.contains(n);
      EXPECT_EQ(set.contains(begin, end), all);
      std::set<std::uint64_t> missing, gaps;
      for (std::uint64_t n = 0; n < 130; ++n)
        if (!twin.contains(n)) missing.insert(n);
      set.for_each_gap(0, 130, [&](std::uint64_t from, std::uint64_t to) {
        EXPECT_LT(from, to);
        for (; from < to; ++from) EXPECT_TRUE(gaps.insert(from).second);
      });
      ASSERT_EQ(gaps, missing) << "seed " << seed;
      std::size_t runs = 0;
      for (const std::uint64_t n : twin) runs += !twin.contains(n - 1);
      ASSERT_EQ(set.size(), runs);
    }
  }
}

TEST(AckTracker, KeepsTheNewestRangesInAnyOrderOfArrival) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SeededRng rng(seed);
    AckTracker tracker;
    std::set<std::uint64_t> twin;
    std::uint64_t base = 0;
    for (int i = 0; i < 300; ++i) {
      if (rng.chance(0.3)) base += rng.below(8);
      const std::uint64_t number = base + rng.below(10);
      tracker.on_packet(number, true, false, 10ms, Instant(1s));
      twin.insert(number);
      wire::AckFrame frame;
      tracker.take(frame, Instant(1s));
      ASSERT_EQ(frame.largest(), *twin.rbegin());
      std::uint64_t above = ~std::uint64_t{0};
      for (std::size_t r = 0; r < frame.range_count; ++r) {
        ASSERT_LE(frame.ranges[r].first, frame.ranges[r].last);
        ASSERT_TRUE(r == 0 || frame.ranges[r].last + 1 < above);
        above = frame.ranges[r].first;
        for (auto n = frame.ranges[r].first; n <= frame.ranges[r].last; ++n) ASSERT_TRUE(twin.contains(n));
      }
      // While there was always room, nothing is missing.
      std::size_t runs = 0;
      for (const std::uint64_t n : twin) runs += !twin.contains(n - 1);
      ASSERT_TRUE(i >= 40 || frame.range_count == runs);
    }
  }
}

TEST(AckTracker, HoldsAtMostItsCapOfRanges) {
  AckTracker tracker;
  for (std::uint64_t n = 0; n < 1000; n += 2) tracker.on_packet(n, true, false, 10ms, Instant(1s));
  tracker.on_packet(1, true, false, 10ms, Instant(1s));  // older than all that is kept: not remembered
  wire::AckFrame frame;
  tracker.take(frame, Instant(1s));
  ASSERT_EQ(frame.range_count, kMaxAckRanges);
  EXPECT_EQ(frame.ranges[0], (wire::PacketRange{998, 998}));
  EXPECT_EQ(frame.ranges[kMaxAckRanges - 1], (wire::PacketRange{872, 872}));
}

// What the sender is known to have heard is not repeated; the newest range always is.
TEST(AckTracker, ForgetsRangesThatTheSenderHas) {
  AckTracker tracker;
  for (const std::uint64_t n : {0, 1, 3, 5, 6, 9}) tracker.on_packet(n, true, false, 10ms, Instant(1s));
  EXPECT_EQ(tracker.range_count(), 4u);
  tracker.on_ack_acked(5);  // half of 5..6: kept whole
  wire::AckFrame frame;
  tracker.take(frame, Instant(1s));
  ASSERT_EQ(frame.range_count, 2u);
  EXPECT_EQ(frame.ranges[0], (wire::PacketRange{9, 9}));
  EXPECT_EQ(frame.ranges[1], (wire::PacketRange{5, 6}));
  tracker.on_ack_acked(100);
  tracker.take(frame, Instant(1s));
  ASSERT_EQ(frame.range_count, 1u);
  EXPECT_EQ(frame.ranges[0], (wire::PacketRange{9, 9}));
  tracker.on_packet(4, true, false, 10ms, Instant(1s));  // late: news, although older
  tracker.take(frame, Instant(1s));
  ASSERT_EQ(frame.range_count, 2u);
  EXPECT_EQ(frame.ranges[1], (wire::PacketRange{4, 4}));
}

TEST(AckTracker, AsksForAnAckByTimeCountFlagAndGap) {
  const Instant start(1s);
  AckTracker tracker;
  wire::AckFrame frame;
  tracker.on_packet(0, false, false, 80ms, start);
  EXPECT_FALSE(tracker.due());  // a bare ack is never answered
  tracker.on_packet(1, true, false, 80ms, start);
  EXPECT_EQ(tracker.due(), start + kMaxAckDelay);
  tracker.take(frame, start);
  tracker.on_packet(2, true, false, 8ms, start);
  EXPECT_EQ(tracker.due(), start + 1ms);  // an eighth of the rtt
  tracker.on_packet(3, true, true, 8ms, start);
  EXPECT_TRUE(tracker.is_due(start));
  tracker.take(frame, start);
  tracker.on_packet(5, true, false, 80ms, start);
  EXPECT_TRUE(tracker.is_due(start));  // a gap
  tracker.take(frame, start);
  tracker.on_packet(7, true, false, 80ms, start + 100us);
  EXPECT_EQ(tracker.due(), start + kGapAckSpacing);  // but not for every gap
  tracker.take(frame, start + 1ms);
  for (std::uint64_t n = 8; n < 8 + kAckEveryPackets - 1; ++n)
    tracker.on_packet(n, true, false, 80ms, start + 2ms);
  EXPECT_FALSE(tracker.is_due(start + 2ms));
  tracker.on_packet(200, true, false, 80ms, start + 2ms);
  EXPECT_TRUE(tracker.is_due(start + 2ms));
  tracker.take(frame, start + 3ms);
  EXPECT_EQ(frame.delay_us, 1000u);
}

TEST(ReplayWindow, AcceptsEachNumberOnceAndNothingTooOld) {
  ReplayWindow window;
  using enum ReplayWindow::Verdict;
  EXPECT_EQ(window.verdict(0), Fresh);
  window.mark(0);
  EXPECT_EQ(window.verdict(0), Repeated);
  window.mark(70'000);
  EXPECT_EQ(window.verdict(0), TooOld);
  EXPECT_EQ(window.verdict(70'000 - kReplayWindowPackets), TooOld);
  EXPECT_EQ(window.verdict(70'001 - kReplayWindowPackets), Fresh);
  window.mark(70'001 - kReplayWindowPackets);
  EXPECT_EQ(window.verdict(70'001 - kReplayWindowPackets), Repeated);
  window.mark(std::uint64_t{1} << 47);
  EXPECT_EQ(window.verdict(70'000), TooOld);
  for (std::uint64_t n = 1; n < kReplayWindowPackets; n += 97)
    EXPECT_EQ(window.verdict((std::uint64_t{1} << 47) - n), Fresh);
}

TEST(ReplayWindow, AgreesWithASet) {
  SeededRng rng(5);
  ReplayWindow window;
  std::set<std::uint64_t> twin;
  std::uint64_t top = 0;
  for (int i = 0; i < 200'000; ++i) {
    if (rng.chance(0.01)) top += rng.below(5000);
    const std::uint64_t number = top + rng.below(100) - std::min<std::uint64_t>(top, rng.below(70'000));
    const bool fresh = window.verdict(number) == ReplayWindow::Verdict::Fresh;
    const bool in_window = twin.empty() || number + kReplayWindowPackets > *twin.rbegin();
    ASSERT_EQ(fresh, in_window && !twin.contains(number)) << number;
    if (fresh) {
      window.mark(number);
      twin.insert(number);
    }
  }
}

TEST(ReassemblyBuffer, DeliversEveryByteOnceInOrderWhateverArrives) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SeededRng rng(seed);
    Bytes stream(2000);
    rng.fill(stream);
    ReassemblyBuffer buffer(1 + rng.below(300), 1 + rng.below(600));
    std::set<std::uint64_t> twin;
    Bytes delivered;
    while (delivered.size() < stream.size()) {
      const std::uint64_t offset =
          buffer.consumed() + rng.below(310) - std::min<std::uint64_t>(buffer.consumed(), 20);
      const auto size = static_cast<std::size_t>(1 + rng.below(60));
      if (offset + size > stream.size()) continue;
      const auto outcome =
          buffer.insert(offset, ByteView(stream).subspan(static_cast<std::size_t>(offset), size));
      if (offset + size > buffer.limit()) {
        ASSERT_EQ(outcome, ReassemblyBuffer::Outcome::TooFar);
        continue;
      }
      bool fresh = false;
      for (auto n = offset; n < offset + size; ++n) fresh = twin.insert(n).second || fresh;
      ASSERT_EQ(outcome, fresh ? ReassemblyBuffer::Outcome::New : ReassemblyBuffer::Outcome::Duplicate);
      ASSERT_EQ(buffer.buffered_bytes(), twin.size() - delivered.size());
      while (!buffer.readable().empty() && rng.chance(0.7)) {
        const auto take = static_cast<std::size_t>(1 + rng.below(buffer.readable().size()));
        const ByteView part = buffer.readable().first(take);
        delivered.insert(delivered.end(), part.begin(), part.end());
        buffer.consume(take);
        if (rng.chance(0.5)) buffer.advertise();
      }
      if (rng.chance(0.02)) buffer.set_window(1 + rng.below(400));
      if (rng.chance(0.05)) buffer.advertise();
    }
    ASSERT_TRUE(equal_bytes(delivered, stream));
    StreamDigest digest;
    digest.update(stream);
    ASSERT_EQ(buffer.digest(), digest.value());
  }
}

TEST(ReassemblyBuffer, RefusesMoreGapsThanItWillRemember) {
  ReassemblyBuffer buffer(1 << 20, 1 << 20);
  const Bytes one(1);
  for (std::uint64_t i = 0; i < kMaxGaps; ++i)
    ASSERT_EQ(buffer.insert(2 + 2 * i, one), ReassemblyBuffer::Outcome::New);
  EXPECT_EQ(buffer.insert(2 + 2 * kMaxGaps, one), ReassemblyBuffer::Outcome::TooManyGaps);
  EXPECT_EQ(buffer.insert(3, one), ReassemblyBuffer::Outcome::New);  // closing one is welcome
  EXPECT_EQ(buffer.insert(2 + 2 * kMaxGaps, one), ReassemblyBuffer::Outcome::New);
}

// A gap at the front, as after the start's overshoot: what is acked behind it costs nothing.
TEST(SendBuffer, KeepsOnlyWhatIsAroundAHole) {
  constexpr std::size_t kSize = 3 << 20, kPacket = 1000;
  SendBuffer buffer(kSize);
  Bytes data(kSize);
  SeededRng rng(1);
  rng.fill(data);
  ASSERT_EQ(buffer.write(data), kSize);
  Bytes out(kSize);
  while (const auto chunk = buffer.next_chunk(kPacket, kSize))
    buffer.take(*chunk, ByteSpan(out).first(chunk->size));
  EXPECT_EQ(buffer.memory_bytes(), kSize);
  for (std::size_t at = kPacket; at < kSize; at += kPacket)
    if (at != 2'000'000) buffer.on_acked(at, std::min(kPacket, kSize - at));
  EXPECT_EQ(buffer.confirmed(), 0u);
  EXPECT_EQ(buffer.memory_bytes(), 2 * StreamMemory::kChunkBytes);
  buffer.on_lost(0, kSize);
  for (const std::size_t hole : {std::size_t{0}, std::size_t{2'000'000}}) {
    const auto chunk = buffer.next_chunk(2 * kPacket, kSize);
    ASSERT_TRUE(chunk && chunk->offset == hole && chunk->size == kPacket);
    const ByteSpan again = ByteSpan(out).first(kPacket);
    buffer.take(*chunk, again);
    EXPECT_TRUE(equal_bytes(again, ByteView(data).subspan(hole, kPacket)));
  }
  buffer.on_acked(0, kPacket);
  EXPECT_EQ(buffer.confirmed(), 2'000'000u);
  buffer.on_acked(2'000'000, kPacket);
  EXPECT_EQ(buffer.confirmed(), kSize);
  EXPECT_EQ(buffer.memory_bytes(), 0u);
  EXPECT_EQ(buffer.write(data), kSize);
}

// What is acked behind a hole gives room, up to how far the two ends may be apart.
TEST(SendBuffer, CountsOnlyWhatIsNotAcked) {
  SendBuffer buffer(1000);
  const Bytes data(3000);
  Bytes out(100);
  EXPECT_EQ(buffer.write(data), 1000u);
  while (const auto chunk = buffer.next_chunk(100, 1000)) buffer.take(*chunk, out);
  EXPECT_EQ(buffer.writable(), 0u);
  buffer.on_acked(100, 300);
  EXPECT_EQ(buffer.writable(), 300u);
  buffer.on_acked(200, 800);  // half of it again
  EXPECT_EQ(buffer.unacked(), 100u);
  EXPECT_EQ(buffer.writable(), 500u);  // 1500 beyond the hole
  EXPECT_EQ(buffer.write(data), 500u);
  while (const auto chunk = buffer.next_chunk(100, 1500)) buffer.take(*chunk, out);
  buffer.on_acked(1000, 500);
  EXPECT_EQ(buffer.unacked(), 100u);
  EXPECT_EQ(buffer.writable(), 0u);
  buffer.grow(2000);
  EXPECT_EQ(buffer.writable(), 1500u);
  buffer.on_acked(0, 100);
  EXPECT_EQ(buffer.confirmed(), 1500u);
  EXPECT_EQ(buffer.unacked(), 0u);
  EXPECT_EQ(buffer.writable(), 2000u);
}

TEST(SendBuffer, SendsLostBytesBeforeNewOnesAndNeverAckedOnes) {
  SendBuffer buffer(1000);
  Bytes data(1000), out(100);
  EXPECT_EQ(buffer.write(data), 1000u);
  EXPECT_EQ(buffer.write(data), 0u);
  for (int i = 0; i < 4; ++i) {
    const auto chunk = buffer.next_chunk(100, 1000);
    ASSERT_TRUE(chunk && chunk->is_new && chunk->size == 100);
    buffer.take(*chunk, out);
  }
  buffer.on_acked(150, 20);
  buffer.on_lost(100, 100);
  auto chunk = buffer.next_chunk(100, 1000);
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->offset, 100u);
  EXPECT_EQ(chunk->size, 50u);  // up to what is acked
  EXPECT_FALSE(chunk->is_new);
  buffer.take(*chunk, out.size() == 100 ? ByteSpan(out).first(50) : ByteSpan(out));
  buffer.on_acked(170, 30);  // its own ack comes late: nothing left to repeat
  chunk = buffer.next_chunk(100, 1000);
  ASSERT_TRUE(chunk);
  EXPECT_TRUE(chunk->is_new);
  EXPECT_EQ(chunk->offset, 400u);
  EXPECT_FALSE(buffer.next_chunk(100, 400));  // the peer's limit
  EXPECT_EQ(buffer.writable(), 50u);
  buffer.on_acked(0, 100);
  EXPECT_EQ(buffer.confirmed(), 100u);
  buffer.on_acked(100, 50);
  EXPECT_EQ(buffer.confirmed(), 200u);
  EXPECT_EQ(buffer.writable(), 200u);
}

}  // namespace
}  // namespace dh::bulk
