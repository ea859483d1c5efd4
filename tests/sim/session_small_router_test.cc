// A router with room for few sessions: a search for ports must neither last nor come back.

#include <gtest/gtest.h>

#include "path/limits.hh"
#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

struct SmallRouter {
  explicit SmallRouter(std::uint64_t seed)
      : pair([seed] {
          NatSessionOptions options;
          options.seed = seed;
          options.listener_box = NatKind::SymmetricRandom;
          options.bytes = 16 << 20;  // 20 kB/s: longer than any of these tests
          options.write_bytes_per_second = 20e3;
          options.dialer_box_options = preset(NatKind::PortRestricted);
          options.dialer_box_options->max_flows = 64;
          return options;
        }()) {}
  Nat& router() { return pair.lab.internet.nat(pair.dialer_site.box); }
  NatSession pair;
};

TEST(SmallRouter, IsFullOnlyWhileASearchRunsAndTheSessionGoesOn) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SmallRouter world(seed);
    NatSession& pair = world.pair;
    ASSERT_TRUE(pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s));
    ASSERT_TRUE(
        pair.run_until([&] { return world.router().counters().table_full > 0 || pair.is_direct(); }, 20s));
    const std::uint64_t before = pair.receiver().received();
    pair.run_for(5s);
    EXPECT_GE(pair.receiver().received() - before, 80'000u) << "of 100 kB: the relay does not mind";

    // Five minutes: one search a minute at most, three in all, and between them the router has room for
    // others.
    std::size_t free_seconds = 0;  // of 300
    for (int second = 0; second < 300; ++second) {
      pair.run_for(1s);
      free_seconds += world.router().flow_count(pair.lab.world.now()) < 60 ? 1 : 0;
    }
    EXPECT_GE(free_seconds, 150u) << seed;
    EXPECT_EQ(pair.finish(), "") << seed;
  }
}

// Somebody else at home asks for a way out while the search runs: waits no longer than the search and the
// router's memory of a one-way flow.
TEST(SmallRouter, LetsOthersOutAgainSoonAfterASearch) {
  SmallRouter world(1);
  NatSession& pair = world.pair;
  ASSERT_TRUE(pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s));
  pair.run_until([&] { return world.router().counters().table_full > 0; }, 20s);
  const HostId other = pair.lab.internet.add_host(IpAddress::v4(192, 168, 11, 3), pair.dialer_site.box);
  Listener socket(pair.lab.internet, other, 5000);
  bool out = false;
  int waited = 0;
  while (!out && waited < 45) {
    out = ask_stun(pair.lab, socket, pair.lab.server.endpoint()).has_value();
    ++waited;
  }
  EXPECT_TRUE(out);
  EXPECT_LE(waited, 8 + 30 + 2);
  EXPECT_EQ(pair.finish(), "");
}

TEST(SmallRouter, IsSearchedThroughThreeTimesAtMost) {
  SmallRouter world(2);
  NatSession& pair = world.pair;
  ASSERT_TRUE(pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s));
  pair.run_for(600s);
  EXPECT_LE(pair.lab.internet.packets_sent_to(NatWorld::public_address(2)),
            path::kMaxBirthdays * path::kBirthdayProbes + 1000);
  EXPECT_EQ(pair.finish(), "");
}

}  // namespace
}  // namespace dh::sim
