// Both families side by side: whichever works is used, and neither waits for the other.

#include <array>

#include <gtest/gtest.h>

#include "sim/nat_session.hh"

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
    NatKind::Naive,
};

NatSessionOptions between(NatKind dialer, NatKind listener) {
  NatSessionOptions out;
  out.dialer_box = dialer;
  out.listener_box = listener;
  return out;
}

std::optional<double> seconds_to_direct(NatSession& pair, Duration limit) {
  if (!pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s)) return std::nullopt;
  if (!pair.run_until([&] { return pair.is_direct(); }, limit)) return std::nullopt;
  return to_seconds(pair.lab.world.now() - *pair.claimed_at());
}

bool uses_ipv6(NatSession& pair) {
  return pair.dialer().path_log().direct->remote.address.is_v6();
}

// The grid of session_nat_test.cc once more: with IPv6 behind a firewall on both sides no pair needs a relay,
// a search, or longer than the easy ones do.
TEST(SessionWithIpv6, EveryPairOfBoxesIsDirectAtOnceThroughTwoFirewalls) {
  std::uint64_t seed = 0;
  for (const NatKind a : kKinds) {
    for (const NatKind b : kKinds) {
      NatSessionOptions options = between(a, b);
      options.seed = ++seed;
      options.dialer_ipv6 = options.listener_ipv6 = true;
      NatSession pair(options);
      const auto direct = seconds_to_direct(pair, 5s);
      ASSERT_TRUE(direct) << to_string(a) << " x " << to_string(b);
      EXPECT_LE(*direct, 0.062) << to_string(a) << " x " << to_string(b);
      EXPECT_EQ(pair.finish(), "") << to_string(a) << " x " << to_string(b);
    }
  }
}

TEST(SessionWithIpv6, OneSidedItChangesNothing) {
  for (const auto& [a, b] : {std::pair{NatKind::PortRestricted, NatKind::PortRestricted},
                             std::pair{NatKind::SymmetricRandom, NatKind::FullCone}}) {
    std::array<std::optional<double>, 3> direct;
    for (std::size_t which = 0; which < direct.size(); ++which) {
      NatSessionOptions options = between(a, b);
      options.dialer_ipv6 = which == 1;
      options.listener_ipv6 = which == 2;
      NatSession pair(options);
      direct[which] = seconds_to_direct(pair, 5s);
      ASSERT_TRUE(direct[which]);
      EXPECT_FALSE(uses_ipv6(pair));
      EXPECT_EQ(pair.finish(), "");
    }
    EXPECT_LE(*direct[1], *direct[0] + 0.005);
    EXPECT_LE(*direct[2], *direct[0] + 0.005);
  }
}

// What the internet does to IPv6 between the two; what a host itself sees of it is nothing.
void swallow_ipv6(NatSession& pair, std::size_t above_bytes) {
  pair.lab.internet.on_core = [above_bytes](const Endpoint&, const Endpoint& to, ByteView datagram) {
    return !to.address.is_v6() || datagram.size() <= above_bytes;
  };
}

TEST(SessionWithIpv6, ABlackHoleCostsNothing) {
  NatSession without(between(NatKind::PortRestricted, NatKind::PortRestricted));
  const auto usual = seconds_to_direct(without, 5s);
  NatSessionOptions options = between(NatKind::PortRestricted, NatKind::PortRestricted);
  options.dialer_ipv6 = options.listener_ipv6 = true;
  NatSession pair(options);
  swallow_ipv6(pair, 0);
  const auto direct = seconds_to_direct(pair, 5s);
  ASSERT_TRUE(usual && direct);
  EXPECT_LE(*direct, *usual + 0.005);
  EXPECT_FALSE(uses_ipv6(pair));
  EXPECT_EQ(pair.finish(), "");
}

// Small pings pass on one family, nothing full-sized does; the other one needs fresh ports, or a search.
TEST(SessionWithIpv6, AHoleForFullDatagramsDoesNotEndTheSearchOnTheOtherFamily) {
  for (const auto& [a, b, limit] :
       {std::tuple{NatKind::PortRestricted, NatKind::SymmetricSequential, Duration(4s)},
        std::tuple{NatKind::SymmetricRandom, NatKind::PortRestricted, Duration(12s)}}) {
    NatSessionOptions options = between(a, b);
    options.dialer_ipv6 = options.listener_ipv6 = true;
    NatSession pair(options);
    swallow_ipv6(pair, 600);
    const auto direct = seconds_to_direct(pair, limit);
    ASSERT_TRUE(direct) << to_string(a) << " x " << to_string(b);
    EXPECT_FALSE(uses_ipv6(pair));
    EXPECT_EQ(pair.finish(), "");
  }
}

}  // namespace
}  // namespace dh::sim
