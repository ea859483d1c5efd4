#include "bulk/hold_clock.hh"

#include <gtest/gtest.h>

#include "link.hh"

namespace dh::bulk::test {
namespace {

TEST(HoldClock, CountsEveryMomentOnce) {
  HoldClock clock;
  clock.on_held(HeldBy::Source, {}, Instant(1s));
  clock.on_sent(Instant(3s));
  clock.on_held(HeldBy::Path, Instant(5s), Instant(4s));  // until 5 s, and asked again at 5.5 s
  clock.on_held(HeldBy::Limit, Instant(9s), Instant(5500ms));
  clock.on_held(HeldBy::Receiver, {}, Instant(6s));  // asked before its time
  clock.stop(Instant(10s));
  clock.on_sent(Instant(20s));
  clock.stop(Instant(30s));
  EXPECT_EQ(clock.total(HeldBy::Source), 2s);
  EXPECT_EQ(clock.total(HeldBy::Host), 1500ms);
  EXPECT_EQ(clock.total(HeldBy::Path), 1s);
  EXPECT_EQ(clock.total(HeldBy::Limit), 500ms);
  EXPECT_EQ(clock.total(HeldBy::Receiver), 4s);
}

// Virtual time passes only while somebody waits.
TEST(Sender, SaysWhatItWaitedFor) {
  World path(1, config_of(1), 2'000'000);
  path.add_path(0, {}, {.bytes_per_second = 1e6});
  path.run();
  EXPECT_GT(path.sender.held(HeldBy::Path), 1500ms);
  EXPECT_LT(path.sender.held(HeldBy::Source) + path.sender.held(HeldBy::Host), 200ms);
  World source(1, config_of(1), 10'000);
  source.add_path(0, {}, {});
  source.finishes = false;
  source.run_for(5s);
  source.finishes = true;
  source.run();
  EXPECT_TRUE(source.complete());
  EXPECT_GT(source.sender.held(HeldBy::Source), 4s);
  StreamConfig narrow = config_of(1);
  narrow.receive_window = narrow.most_receive_window = 64 * 1024;
  World world(1, narrow, 1'000'000);
  world.add_path(0, {}, {.bytes_per_second = 1e6});
  world.read_at(50'000);
  world.run();
  EXPECT_GT(world.sender.held(HeldBy::Receiver), 10s);
  StreamConfig limited = config_of(1);
  limited.rate_limit = 100'000;
  World slow(1, limited, 1'000'000);
  slow.add_path(0, {}, {.bytes_per_second = 1e6});
  slow.run();
  EXPECT_GT(slow.sender.held(HeldBy::Limit), 8s);
  EXPECT_LT(slow.sender.held(HeldBy::Host), 1s);
}

}  // namespace
}  // namespace dh::bulk::test
