#include <algorithm>
#include <array>
#include <string_view>

#include <gtest/gtest.h>

#include "sim/nat_world.hh"

namespace dh::sim {
namespace {

constexpr std::array kKinds = {
    NatKind::OneToOne,
    NatKind::OneToOneFirewall,
    NatKind::FullCone,
    NatKind::AddressRestricted,
    NatKind::PortRestricted,
    NatKind::AddressDependent,
    NatKind::SymmetricSequential,
    NatKind::SymmetricRandom,
    NatKind::SymmetricPortMapped,
    NatKind::UdpBlocked,
};
// D: both ends reach each other directly; R: never, a relay is needed. Rows and columns as in kKinds. The
// same grid was measured with nftables gateways in network namespaces.
constexpr std::array<std::string_view, 10> kOutcome = {
    "DDDDDDDDDR",  // 1:1
    "DDDDDRRRDR",  // 1:1 + firewall
    "DDDDDDDDDR",  // full cone
    "DDDDDDDDDR",  // address-restricted
    "DDDDDRRRDR",  // port-restricted
    "DRDDRRRRDR",  // address-dependent
    "DRDDRRRRDR",  // symmetric, sequential
    "DRDDRRRRDR",  // symmetric, random
    "DDDDDDDDDR",  // symmetric, port mapped
    "RRRRRRRRRR",  // UDP blocked
};

bool punches(NatKind a_kind, NatKind b_kind) {
  NatWorld lab;
  const Site a = lab.add_site(1, a_kind, {.delay = 10ms}), b = lab.add_site(2, b_kind, {.delay = 10ms});
  TextbookProber a_prober(lab, a), b_prober(lab, b);
  a_prober.ask_server();
  b_prober.ask_server();
  lab.run(500ms);
  a_prober.start(b_prober.candidates(), 5);
  b_prober.start(a_prober.candidates(), 5);
  lab.run(1s);
  EXPECT_EQ(a_prober.direct(), b_prober.direct());
  return a_prober.direct() && b_prober.direct();
}

TEST(NatMatrix, EveryPairOfBoxesPunchesOrFailsAsRealGatewaysDo) {
  for (std::size_t a = 0; a < kKinds.size(); ++a)
    for (std::size_t b = 0; b < kKinds.size(); ++b)
      EXPECT_EQ(punches(kKinds[a], kKinds[b]) ? 'D' : 'R', kOutcome[a][b])
          << to_string(kKinds[a]) << " x " << to_string(kKinds[b]);
}

struct Punched {
  std::optional<std::chrono::milliseconds> a, b;
};

// Two sites with access wires of 10 ms, so 20 ms one way; B starts `offset` after A.
Punched punch_with_offset(NatKind kind, Duration offset, int opener_ttl = 64) {
  NatWorld lab;
  const Site a = lab.add_site(1, kind, {.delay = 10ms}), b = lab.add_site(2, kind, {.delay = 10ms});
  TextbookProber a_prober(lab, a, 100ms), b_prober(lab, b, 100ms);
  a_prober.ask_server();
  b_prober.ask_server();
  lab.run(500ms);
  a_prober.start(b_prober.candidates(), 10, Duration::zero(), opener_ttl);
  b_prober.start(a_prober.candidates(), 10, offset, opener_ttl);
  lab.run(3s);
  return {a_prober.direct_after(), b_prober.direct_after()};
}

TEST(NatSynchronisation, GoodBoxesPunchWhateverTheOffset) {
  for (const Duration offset : {0ms, 5ms, 15ms, 30ms, 100ms}) {
    const Punched punched = punch_with_offset(NatKind::PortRestricted, offset);
    ASSERT_TRUE(punched.a && punched.b);
    // At most the first probe of one side is wasted.
    EXPECT_LE(*punched.a, 140ms);
    EXPECT_LE(*punched.b, 150ms);
    if (offset <= 5ms) {
      EXPECT_EQ(*punched.a, 40ms);
    }
  }
}

TEST(NatSynchronisation, NaiveBoxesPunchOnlyWhenBothStartWithinTheOneWayDelay) {
  for (const Duration offset : {0ms, 5ms, 15ms}) {
    const Punched punched = punch_with_offset(NatKind::Naive, offset);
    EXPECT_TRUE(punched.a && punched.b) << to_seconds(offset);
  }
  for (const Duration offset : {30ms, 100ms}) {
    const Punched punched = punch_with_offset(NatKind::Naive, offset);
    EXPECT_FALSE(punched.a || punched.b) << to_seconds(offset);
  }
}

TEST(NatSynchronisation, AnOpenerThatDiesBehindItsOwnBoxRescuesNaiveBoxes) {
  const Punched together = punch_with_offset(NatKind::Naive, 0ms, 2);
  ASSERT_TRUE(together.a && together.b);
  EXPECT_EQ(*together.a, 140ms);  // the second probe of each side passes
  EXPECT_EQ(*together.b, 140ms);
  const Punched apart = punch_with_offset(NatKind::Naive, 100ms, 2);
  EXPECT_TRUE(apart.a && apart.b);
}

}  // namespace
}  // namespace dh::sim
