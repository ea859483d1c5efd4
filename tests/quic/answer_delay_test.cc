// On a short path what holds no new bytes of a stream waits a little. Nothing may wait for ever.

#include "quic/quic_world.hh"

namespace dh::quic::test {
namespace {

/// As if the application of `at` had a turn of its own now: the others' timers come too.
void turn(QuicWorld& world) {
  for (auto& node : world.nodes) node->on_timeout(world.now);
  world.drain();
}

std::size_t waiting(Connection& node, StreamId stream) {
  std::array<ByteView, 64> pieces;
  const std::size_t count = node.readable(stream, pieces);
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += pieces[i].size();
  return size;
}

void consume(QuicWorld& world, StreamId stream, std::size_t size) {
  while (size > 0) {
    const std::size_t taken = std::min(size, world.server().readable(stream).size());
    ASSERT_GT(taken, 0u);
    world.server().consume(stream, taken, world.now);
    size -= taken;
  }
  turn(world);
}

TEST(QuicAnswerDelay, AWindowThatWasReadInTwoHelpingsOpensAgain) {
  QuicWorld world(1, {.delay = 500us});
  world.reads[1] = false;
  world.establish();
  world.run(1s);
  const StreamId stream = world.client().open_stream().value();
  ASSERT_EQ(world.client().write(stream, pattern(200'000)), 200'000u);
  world.run(2s);
  const std::size_t window = waiting(world.server(), stream);
  ASSERT_LT(window, 200'000u) << "the sender is not held back";
  consume(world, stream, window / 4);  // the pause begins
  world.now += 300us;
  consume(world, stream, waiting(world.server(), stream));
  EXPECT_TRUE(world.run(10ms, [&] { return waiting(world.server(), stream) > 0; }));
}

TEST(QuicAnswerDelay, ALossIsRepairedAboutARoundTripLater) {
  for (const Duration delay : {Duration(500us), Duration(3900us)}) {
    SCOPED_TRACE(to_seconds(delay));
    QuicWorld world(1, {.delay = delay});
    world.establish();
    world.run(1s);
    const StreamId stream = world.client().open_stream().value();
    world.client().write(stream, pattern(12'000));
    world.drain();
    const auto first = std::find_if(world.wire.begin(), world.wire.end(),
                                    [](const auto& entry) { return entry.second.to == 1; });
    ASSERT_NE(first, world.wire.end());
    world.wire.erase(first);
    // There, back with what is missing, there again; and one pause at each end.
    EXPECT_TRUE(world.run(3 * delay + 2 * kAnswerDelay, [&] { return world.received[1] == 12'000; }));
  }
}

TEST(QuicAnswerDelay, AStreamThatEndsMakesRoomForAnother) {
  QuicWorld world(1, {.delay = 500us});
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  world.client().finish(stream);
  world.run(1s);
  world.server().finish(stream);
  world.run(1s);
  turn(world);  // nothing to say: the pause begins
  world.now += 300us;
  const std::size_t before = world.seen[0].available;
  world.server().release(stream, world.now);
  EXPECT_TRUE(world.run(10ms, [&] { return world.seen[0].available > before; }));
}

}  // namespace
}  // namespace dh::quic::test
