#include "path/route_choice.hh"

#include <gtest/gtest.h>

#include "path/finder_world.hh"

namespace dh::path {
namespace {

using test::at;

// A full ping was answered there, too.
void prove(Pair& pair) {
  pair.mtu.on_early_probe({});
  pair.mtu.on_answered(kBaseDatagram, {});
}

struct OnePair {
  OnePair() : pairs(1) {
    pairs[0].remote = at("6.6.6.22:4000");
    pairs[0].state = PairState::Valid;
    pairs[0].rtt = 40ms;
    prove(pairs[0]);
    choice.choose(pairs, now);
  }
  // It takes traffic, does not deliver it, and answers a ping right away.
  void stall() {
    choice.on_stalled(now);
    choice.choose(pairs, now);
  }
  Duration rest() {
    const Instant start = now;
    while (!choice.choose(pairs, now)) now = choice.next_timeout().value();
    return now - start;
  }

  RouteChoice choice;
  std::deque<Pair> pairs;
  Instant now = Instant{} + 100s;
};

TEST(RouteChoice, ARouteThatStalledOnceIsTakenAgainAsSoonAsItAnswers) {
  OnePair world;
  world.stall();
  EXPECT_EQ(world.rest(), Duration::zero());
}

TEST(RouteChoice, ARouteThatStallsAgainAndAgainRestsTwiceAsLongEachTime) {
  OnePair world;
  std::vector<Duration> rests;
  for (int i = 0; i < 8; ++i, world.now += 300ms) {
    world.stall();
    rests.push_back(world.rest());
  }
  EXPECT_EQ(rests, (std::vector<Duration>{0s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}));
}

TEST(RouteChoice, ANatThatGivesAnotherPortEveryFewSecondsIsFollowedEachTime) {
  OnePair world;
  for (int i = 0; i < 10; ++i) {
    world.stall();
    world.pairs[0].remote.port = static_cast<std::uint16_t>(5000 + i);
    EXPECT_EQ(world.rest(), Duration::zero());
    world.now += kGoodRun;
  }
}

TEST(RouteChoice, AfterALongRestAShortGoodRunDoesNotMakeUpForStalls) {
  OnePair world;
  for (int i = 0; i < 3; ++i, world.now += 300ms) {
    world.stall();
    world.rest();
  }
  world.now += 2 * kGoodRun;
  world.stall();
  EXPECT_EQ(world.rest(), 8s);
  world.now += 16s;
  world.stall();
  EXPECT_EQ(world.rest(), Duration::zero());
}

TEST(RouteChoice, ALongGoodTimeMakesUpForStalls) {
  OnePair world;
  for (int i = 0; i < 3; ++i, world.now += 300ms) {
    world.stall();
    world.rest();
  }
  world.now += kFailureMemory + 1s;
  world.stall();
  EXPECT_EQ(world.rest(), Duration::zero());
}

TEST(RouteChoice, OnlyTheAddressThatStalledRests) {
  OnePair world;
  world.pairs.push_back(world.pairs[0]);
  world.pairs[1].remote = at("7.7.7.22:4000");
  world.pairs[1].rtt = 90ms;
  for (int i = 0; i < 2; ++i) world.stall();
  ASSERT_TRUE(world.choice.current());
  EXPECT_EQ(world.choice.current()->remote, at("7.7.7.22:4000"));
  world.choice.forget_stalls();
  world.now += kDwell;
  EXPECT_EQ(world.choice.choose(world.pairs, world.now)->remote, at("6.6.6.22:4000"));
}

}  // namespace
}  // namespace dh::path
