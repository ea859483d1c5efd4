#include "session/relay_set.hh"

#include <gtest/gtest.h>

namespace dh::session {
namespace {

constexpr Instant kStart{};

TEST(RelaySet, UsesTheFirstRelayThatIsUp) {
  RelaySet relays(2);
  EXPECT_FALSE(relays.current());
  relays.up(1);
  EXPECT_EQ(relays.current(), 1u);
  relays.up(0);
  EXPECT_EQ(relays.current(), 1u);  // two good relays never flap
}

TEST(RelaySet, MovesWhenTheRelayGoesDownAndStaysWhenItComesBack) {
  RelaySet relays(2);
  relays.up(0);
  relays.up(1);
  relays.down(0);
  EXPECT_EQ(relays.current(), 1u);
  relays.up(0);
  EXPECT_EQ(relays.current(), 1u);
  relays.down(1);
  relays.down(0);
  EXPECT_FALSE(relays.current());
}

TEST(RelaySet, ASuspectRelayIsUsedOnlyWhenThereIsNoBetterOne) {
  RelaySet relays(2);
  relays.up(0);
  relays.suspect(0);
  EXPECT_EQ(relays.current(), 0u);
  relays.up(1);
  EXPECT_EQ(relays.current(), 1u);
  relays.suspect(1);
  EXPECT_EQ(relays.current(), 1u);
  relays.heard(0, kStart + 1s);
  EXPECT_EQ(relays.current(), 0u);
  EXPECT_FALSE(relays.is_suspect(0));
}

TEST(RelaySet, FollowsThePeerOnlyToARelayThatIsUp) {
  RelaySet relays(2);
  relays.up(0);
  relays.follow(1);
  EXPECT_EQ(relays.current(), 0u);
  relays.up(1);
  relays.follow(1);
  EXPECT_EQ(relays.current(), 1u);
}

TEST(RelaySet, RemembersWhenThePeerWasHeardLast) {
  RelaySet relays(2);
  EXPECT_FALSE(relays.last_heard());
  relays.up(0);
  relays.up(1);
  relays.heard(1, kStart + 5s);
  relays.heard(0, kStart + 3s);
  EXPECT_EQ(relays.last_heard(), kStart + 5s);
}

}  // namespace
}  // namespace dh::session
