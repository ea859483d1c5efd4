#include "session/lane_watch.hh"

#include <array>

#include <gtest/gtest.h>

namespace dh::session {
namespace {

struct Watched {
  LaneWatch watch;
  Instant now{1s};
  std::vector<Duration> cpu_times;
  std::uint64_t messages = 0, dropped = 0;

  explicit Watched(std::size_t cores, std::size_t threads) : watch(cores), cpu_times(threads) { sample(); }
  bool sample() {
    return watch.on_sample({.cpu_times = cpu_times, .messages = messages, .dropped = dropped}, now);
  }
  bool half_a_second(double busy, std::uint64_t drops = 0) {
    now += 500ms;
    if (!cpu_times.empty()) cpu_times.back() += from_seconds(0.5 * busy);
    messages += 10'000;
    dropped += drops;
    return sample();
  }
};

TEST(LaneWatch, AsksWhenOneThreadFillsItsCoreAndAnotherIsFree) {
  Watched w(4, 1);
  EXPECT_FALSE(w.half_a_second(0.97));
  EXPECT_TRUE(w.half_a_second(0.97));
  EXPECT_FALSE(w.half_a_second(0.97)) << "not at once again";
  EXPECT_TRUE(w.half_a_second(0.97));
}

TEST(LaneWatch, ACoreThatIsBusyNowAndThenIsNotFull) {
  Watched w(4, 2);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(w.half_a_second(0.97));
    EXPECT_FALSE(w.half_a_second(0.5));
  }
}

TEST(LaneWatch, NoMoreThreadsThanCores) {
  Watched two(2, 1), four(4, 3), none(8, 0);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(two.half_a_second(1));
    EXPECT_FALSE(four.half_a_second(1));
    EXPECT_FALSE(none.half_a_second(1));
  }
}

// A buffer more helps whoever has to wait for a core.
TEST(LaneWatch, AsksWhenMessagesAreLostInFrontOfTheSocket) {
  Watched w(2, 0);
  EXPECT_FALSE(w.half_a_second(0, 5)) << "one in two thousand";
  EXPECT_FALSE(w.half_a_second(0, 5));
  EXPECT_FALSE(w.half_a_second(0, 50));
  EXPECT_TRUE(w.half_a_second(0, 50));
}

}  // namespace
}  // namespace dh::session
