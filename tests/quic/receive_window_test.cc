#include "quic/receive_window.hh"

#include <memory>

#include "quic/quic_world.hh"

namespace dh::quic::test {
namespace {

constexpr Duration kRtt = 100ms;

/// A reader that takes everything at once, in pieces of a tenth of a round trip.
void read_fast(ReceiveWindow& window, Instant& now, int rounds = 200) {
  for (int i = 0; i < rounds; ++i) {
    now += kRtt / 10;
    window.on_read(window.size() / 2, kRtt, now);
  }
}

TEST(ReceiveWindow, OneFastReaderGetsTheLargestWindow) {
  WindowBudget budget;
  ReceiveWindow window(budget);
  Instant now{};
  EXPECT_EQ(window.on_open(), kOpeningWindow - kFirstWindow);
  read_fast(window, now);
  EXPECT_EQ(window.size(), kLargestWindow);
}

TEST(ReceiveWindow, WhoKeepsALargeOneLeavesSomethingToEachLaterStream) {
  WindowBudget budget;
  Instant now{};
  std::vector<std::unique_ptr<ReceiveWindow>> windows;
  std::uint64_t held = 0;
  for (int i = 0; i < 60; ++i) {
    windows.push_back(std::make_unique<ReceiveWindow>(budget));
    windows.back()->on_open();
    read_fast(*windows.back(), now);
    EXPECT_GE(windows.back()->size(), i < 2 ? 4u << 20 : 32u << 10) << i;
    held += windows.back()->size() - kFirstWindow;
  }
  EXPECT_EQ(held + budget.left(), kGrowthBudget);
  windows.erase(windows.begin() + 1, windows.end());
  EXPECT_EQ(budget.left(), kGrowthBudget - (kLargestWindow - kFirstWindow));
}

TEST(ReceiveWindow, AllStreamsThereCanBeFindRoomForTheirBeginning) {
  WindowBudget budget;
  std::deque<ReceiveWindow> windows;
  for (std::size_t i = 0; i < kMaxStreams; ++i) {
    windows.emplace_back(budget).on_open();
  }
  EXPECT_GT(windows[1000].size(), 20u << 10);
  EXPECT_GE(windows.back().size(), kFirstWindow);
}

TEST(ReceiveWindow, AtTheEndOnlyWhatIsUnreadIsKept) {
  WindowBudget budget;
  ReceiveWindow window(budget);
  Instant now{};
  window.on_open();
  read_fast(window, now);
  window.end(1 << 20);
  EXPECT_EQ(budget.left(), kGrowthBudget + kFirstWindow - (1 << 20));
  EXPECT_EQ(window.on_read(1 << 20, kRtt, now), 0u);
  EXPECT_EQ(budget.left(), kGrowthBudget);
}

TEST(ReceiveWindow, ShrinksWhenItsReaderIsSlowAfterAll) {
  WindowBudget budget;
  ReceiveWindow window(budget);
  Instant now{};
  window.on_open();
  read_fast(window, now);
  std::uint64_t promised = kLargestWindow, told = 0;
  for (int i = 0; i < 1000; ++i) {
    now += 1s;
    const std::uint64_t moved = window.on_read(100 << 10, kRtt, now);
    promised += moved - (100 << 10);
    told += moved;
    EXPECT_LE(promised, kGrowthBudget + kFirstWindow - budget.left());
  }
  EXPECT_LE(window.size(), 1u << 20);
  EXPECT_GT(told, 50u << 20);  // and it goes on
}

TEST(ReceiveWindow, AnUnhurriedReaderKeepsASmallOne) {
  WindowBudget budget;
  ReceiveWindow window(budget);
  Instant now{};
  window.on_open();
  for (int i = 0; i < 1000; ++i) {
    now += kRtt;
    window.on_read(4 << 10, kRtt, now);
  }
  EXPECT_LE(window.size(), kOpeningWindow);
}

std::size_t unread(const Connection& node, StreamId stream) {
  std::array<ByteView, 1024> pieces;
  const std::size_t count = node.readable(stream, pieces);
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += pieces[i].size();
  return size;
}

/// Node 0 writes nothing but what opens a stream; node 1 writes to all of them without end.
struct Downloads {
  explicit Downloads(const LinkModel& model) : world(1, model), block(pattern(256 << 10)) {
    for (Config& config : world.configs) config.datagram_bytes = kMaxDatagramBytes;
    world.reads[0] = false;
    world.keeps_data = false;
  }
  StreamId open() {
    streams.push_back(world.client().open_stream().value());
    world.client().write(streams.back(), as_bytes("?"));
    return streams.back();
  }
  std::uint64_t all_unread() const {
    std::uint64_t size = 0;
    for (const StreamId stream : streams) size += unread(*world.nodes[0], stream);
    return size;
  }
  QuicWorld world;
  Bytes block;
  std::vector<StreamId> streams;
};

TEST(QuicReceiveWindow, DownloadsPausedOneAfterTheOtherNeverStopALaterOne) {
  Downloads downloads({.delay = 50ms, .bytes_per_second = 125e6, .queue_bytes = 16 << 20});
  QuicWorld& world = downloads.world;
  world.establish();
  world.application = [&](std::size_t at) {
    if (at == 1) {
      for (const StreamId stream : downloads.streams) world.server().write(stream, downloads.block);
    } else if (!downloads.streams.empty()) {
      world.read(0, downloads.streams.back());  // the others have paused
    }
  };
  for (int i = 0; i < 8; ++i) {
    const std::uint64_t before = world.received[0];
    downloads.open();
    world.run(1500ms);
    EXPECT_GT(world.received[0] - before, i == 0 ? 50u << 20 : 1u << 20) << "download " << i;
  }
  EXPECT_LE(downloads.all_unread(), kMaxUnread);
  EXPECT_GT(downloads.all_unread(), kLargestWindow);
}

TEST(QuicReceiveWindow, AsManyUnreadStreamsAsThereCanBeStopNobodyAndHoldNoMoreThanTheirBound) {
  Downloads downloads({.delay = 10ms});
  QuicWorld& world = downloads.world;
  world.reads[1] = false;
  world.establish();
  for (std::size_t i = 0; i < kMaxStreams; ++i) downloads.open();
  const StreamId last = downloads.streams.back();
  world.run(1s);
  for (int round = 0; round < 10; ++round) {
    for (const StreamId stream : downloads.streams)
      if (stream != last) world.server().write(stream, downloads.block);
    world.run(2s);
  }
  EXPECT_LE(downloads.all_unread(), kMaxUnread);
  EXPECT_GT(downloads.all_unread(), kMaxUnread / 2);
  world.server().write(last, as_bytes("answer"));
  EXPECT_TRUE(world.run(100ms, [&] { return unread(world.client(), last) == 6; }));
  const StreamId first = downloads.streams.front();
  const std::uint64_t before = world.received[0];
  for (int i = 0; i < 10; ++i) {
    world.read(0, first);
    world.server().write(first, downloads.block);
    world.run(1s);
  }
  EXPECT_GT(world.received[0] - before, 10 * kFirstWindow) << "who reads goes on";
}

TEST(QuicReceiveWindow, AnswersThatNobodyReadsCountAsOpenStreams) {
  Downloads downloads({.delay = 10ms});
  QuicWorld& world = downloads.world;
  world.establish();
  std::vector<StreamId>& streams = downloads.streams;
  for (;;) {
    const auto stream = world.client().open_stream();
    if (!stream) break;
    streams.push_back(*stream);
    world.client().finish(*stream);
    if (streams.size() % 256 != 0) continue;
    world.run(100ms);
    for (; !world.seen[1].opened.empty(); world.seen[1].opened.pop_front()) {
      const StreamId opened = world.seen[1].opened.front();
      world.server().write(opened, as_bytes("answer"));
      world.server().finish(opened);
      world.server().release(opened, world.now);
    }
    world.run(100ms);
    ASSERT_LE(streams.size(), kMaxStreams);
  }
  EXPECT_EQ(streams.size(), kMaxStreams);
  EXPECT_EQ(world.server().open_streams(), 0u);
  const std::size_t before = world.seen[0].available;
  world.client().release(streams[7], world.now);
  world.drain();
  EXPECT_EQ(world.seen[0].available, before + 1);
  EXPECT_TRUE(world.client().open_stream().has_value());
}

TEST(QuicReceiveWindow, AnUploadHearsOfItsWindowAtOnce) {
  QuicWorld world(1, {.delay = 500us});
  world.establish();
  world.run(1s);
  const Instant began = world.now;
  const StreamId stream = world.client().open_stream().value();
  world.client().write(stream, pattern(2 * kFirstWindow));
  ASSERT_TRUE(world.run(1s, [&] { return world.received[1] == 2 * kFirstWindow; }));
  EXPECT_LT(world.now - began, 3 * 500us + 100us);  // there, back, there again
}

}  // namespace
}  // namespace dh::quic::test
