// The real session core between every two kinds of NAT box: which pairs become direct, how fast, and that
// every byte arrives either way.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

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
    NatKind::UdpBlocked,
    NatKind::Naive,
};
// D: direct at once. p: once the ports of a NAT that counts are predicted. b: by a birthday search. R: never.
// tests/sim/nat_matrix_test.cc has the same grid for textbook hole punching.
constexpr std::array<std::string_view, 11> kOutcome = {
    "DDDDDDDDDRD",  // 1:1
    "DDDDDbpbDRD",  // 1:1 + firewall
    "DDDDDDDDDRD",  // full cone
    "DDDDDDDDDRD",  // address-restricted
    "DDDDDbpbDRD",  // port-restricted
    "DbDDbRRRDRb",  // address-dependent
    "DpDDpRpRDRp",  // symmetric, sequential
    "DbDDbRRRDRb",  // symmetric, random
    "DDDDDDDDDRD",  // symmetric, port mapped
    "RRRRRRRRRRR",  // UDP blocked
    "DDDDDbpbDRD",  // naive
};

std::uint64_t seed_count(std::uint64_t usual) {
  const char* text = std::getenv("DERPHOLE_NAT_SEEDS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

NatSessionOptions random_pair(std::uint64_t seed, NatKind dialer, NatKind listener) {
  SeededRng rng(seed ^ 0x9a7);
  const auto delay = [&] { return Duration(std::chrono::microseconds(2500 + rng.below(47'500))); };
  NatSessionOptions out;
  out.seed = seed;
  out.dialer_sends = rng.chance(0.5);
  out.dialer_box = dialer;
  out.listener_box = listener;
  out.relay_link.delay = delay();
  for (Wire* wire : {&out.dialer_wire, &out.listener_wire}) {
    wire->delay = delay();
    if (rng.chance(0.3)) wire->jitter = Duration(std::chrono::microseconds(rng.below(10'000)));
    if (rng.chance(0.3)) wire->loss = rng.unit() * 0.02;
  }
  return out;
}

struct Tried {
  std::optional<double> direct_seconds;  // from the claim until both ends use a direct path
  std::string problem;
};

Tried try_pair(const NatSessionOptions& options, Duration limit) {
  NatSession pair(options);
  Tried out;
  if (!pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s)) {
    out.problem = "nobody claimed";
    return out;
  }
  if (pair.run_until([&] { return pair.is_direct(); }, limit))
    out.direct_seconds = to_seconds(pair.lab.world.now() - *pair.claimed_at());
  out.problem = pair.finish();
  return out;
}

// What a pair of boxes is promised: direct within this time, in all but the unluckiest runs.
struct Promise {
  char outcome;
  Duration within;
};
constexpr std::array kPromises = {
    Promise{'D', 1500ms},  // one attempt with known ports, lost probes and all
    Promise{'p', 3s},      // 1 s later from fresh ports, whose neighbours STUN has told
    Promise{'b', 10s},     // 1.5 s later, and then a search
    Promise{'R', 14s},     // nothing, even after all of these
};

Promise promise_of(char outcome) {
  return *std::find_if(kPromises.begin(), kPromises.end(),
                       [outcome](const Promise& promise) { return promise.outcome == outcome; });
}

std::string cell_name(std::size_t a, std::size_t b) {
  return fmt::format("{} x {}", to_string(kKinds[a]), to_string(kKinds[b]));
}

struct Tally {
  std::vector<double> times;          // of those that became direct, sorted
  std::vector<std::uint64_t> missed;  // seeds
};

Tally try_cell(std::size_t a, std::size_t b, std::uint64_t seeds) {
  const char outcome = kOutcome[a][b];
  Tally out;
  for (std::uint64_t n = 0; n < seeds; ++n) {
    const std::uint64_t seed = 1 + n + 1000 * (a * kKinds.size() + b);
    const Tried tried = try_pair(random_pair(seed, kKinds[a], kKinds[b]), promise_of(outcome).within);
    EXPECT_EQ(tried.problem, "") << cell_name(a, b) << " seed " << seed;
    if (tried.direct_seconds) {
      out.times.push_back(*tried.direct_seconds);
    } else {
      out.missed.push_back(seed);
    }
  }
  std::sort(out.times.begin(), out.times.end());
  return out;
}

void tell(std::size_t a, std::size_t b, const Tally& tally) {
  if (std::getenv("DERPHOLE_NAT_SEEDS") == nullptr) return;
  std::string line = fmt::format("{:50} {} {:3}/{:3}", cell_name(a, b), kOutcome[a][b], tally.times.size(),
                                 tally.times.size() + tally.missed.size());
  if (!tally.times.empty())
    line += fmt::format("  median {:.3f} s  worst {:.3f} s", tally.times[tally.times.size() / 2],
                        tally.times.back());
  if (kOutcome[a][b] != 'R' && !tally.missed.empty())
    line += fmt::format("  missed {}", fmt::join(tally.missed, " "));
  fmt::print("{}\n", line);
}

// Every seed is drawn anew: delays of 5 to 100 ms between the hosts, jitter, loss up to 4 %, who sends.
class NatGrid : public testing::TestWithParam<std::size_t> {};

TEST_P(NatGrid, EveryPairOfBoxesBecomesDirectIfItCanAndDeliversEveryByte) {
  const std::size_t a = GetParam();
  for (std::size_t b = 0; b < kKinds.size(); ++b) {
    if (kOutcome[a][b] == 'b') continue;
    const Tally tally = try_cell(a, b, seed_count(2));
    tell(a, b, tally);
    if (kOutcome[a][b] == 'R') {
      EXPECT_EQ(tally.times.size(), 0u) << cell_name(a, b);
    } else {
      EXPECT_EQ(tally.missed, std::vector<std::uint64_t>()) << cell_name(a, b);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Boxes, NatGrid, testing::Range<std::size_t>(0, kKinds.size()));

TEST(SessionBetweenNats, ABirthdaySearchFindsAPortInNearlyEveryRun) {
  std::size_t found = 0, missed = 0;
  for (std::size_t a = 0; a < kKinds.size(); ++a) {
    for (std::size_t b = 0; b < kKinds.size(); ++b) {
      if (kOutcome[a][b] != 'b') continue;
      const Tally tally = try_cell(a, b, seed_count(3));
      tell(a, b, tally);
      found += tally.times.size();
      missed += tally.missed.size();
    }
  }
  // 1024 tries at 256 of 64512 ports: 98 of 100.
  EXPECT_LE(missed, 2 + (found + missed) / 20);
}

// 20 ms one way between the hosts, directly and over the relay.
TEST(SessionBetweenNats, EasyPairsAreDirectOneAndAHalfRoundTripsAfterTheClaim) {
  for (const NatKind a : {NatKind::OneToOne, NatKind::OneToOneFirewall, NatKind::FullCone,
                          NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Naive}) {
    for (const NatKind b : {NatKind::OneToOne, NatKind::OneToOneFirewall, NatKind::FullCone,
                            NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Naive}) {
      NatSessionOptions options;
      options.dialer_box = a;
      options.listener_box = b;
      const Tried tried = try_pair(options, 5s);
      EXPECT_EQ(tried.problem, "");
      ASSERT_TRUE(tried.direct_seconds.has_value());
      EXPECT_LE(*tried.direct_seconds, 0.062) << to_string(a) << " x " << to_string(b);
      if (std::getenv("DERPHOLE_NAT_SEEDS") != nullptr)
        fmt::print("{} x {}: {:.1f} ms\n", to_string(a), to_string(b), *tried.direct_seconds * 1e3);
    }
  }
}

}  // namespace
}  // namespace dh::sim
