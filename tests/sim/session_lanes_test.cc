// Direct paths with several lanes, in whole sessions: how they come about, and that moving between relay and
// direct path is the same with them.

#include <gtest/gtest.h>

#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

TEST(SessionLanes, AreAgreedOnByWhoeverSends) {
  for (const bool dialer_sends : {true, false}) {
    NatSession pair({.seed = 5, .bytes = 8 << 20, .dialer_sends = dialer_sends, .lanes = 4});
    ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 20s));
    EXPECT_EQ(pair.finish(), "");
    EXPECT_EQ(pair.sender().lanes(), 4u);
    EXPECT_EQ(pair.receiver().lanes(), 4u);
  }
}

TEST(SessionLanes, ComeOneByOneWhenTheReceiverAsks) {
  NatSession pair({.seed = 6, .bytes = 16 << 20, .write_bytes_per_second = 1e6});
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 20s));
  pair.run_for(1s);
  EXPECT_EQ(pair.receiver().lanes(), 1u);
  for (std::size_t lanes = 2; lanes <= 4; ++lanes) {
    pair.receiver().want_lane();
    pair.receiver().want_lane();  // the first is still on its way
    ASSERT_TRUE(pair.run_until([&] { return pair.receiver().lanes() == lanes; }, 2s)) << lanes;
    pair.run_for(300ms);
    EXPECT_EQ(pair.receiver().lanes(), lanes);
  }
  pair.receiver().want_lane();  // there are no more
  EXPECT_EQ(pair.finish(), "");
  EXPECT_EQ(pair.sender().lanes(), 4u);
}

TEST(SessionLanes, AreNotMoreThanTheSenderWants) {
  NatSession pair({.seed = 7, .bytes = 4 << 20, .write_bytes_per_second = 1e6, .lanes = 2, .most_lanes = 2});
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 20s));
  for (int i = 0; i < 5; ++i) {
    pair.receiver().want_lane();
    pair.run_for(200ms);
  }
  EXPECT_EQ(pair.finish(), "");
  EXPECT_EQ(pair.receiver().lanes(), 2u);
}

TEST(SessionLanes, GoToTheRelayAndComeBackWithTheirPath) {
  NatSession pair({.seed = 8, .bytes = 24 << 20, .write_bytes_per_second = 2e6, .lanes = 3});
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 20s));
  pair.run_for(1s);
  Nat& box = pair.lab.internet.nat(pair.dialer_site.box);
  box.block_udp();
  ASSERT_TRUE(pair.run_until([&] { return !pair.sender().path_log().direct; }, 10s));
  pair.run_for(1s);
  box.heal();
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 60s));
  EXPECT_EQ(pair.finish(), "");
  EXPECT_EQ(pair.receiver().lanes(), 3u);
}

}  // namespace
}  // namespace dh::sim
