#include "path/mtu_search.hh"

#include <vector>

#include <gtest/gtest.h>

namespace dh::path {
namespace {

constexpr std::size_t kV4Usual = 1472, kV4Jumbo = 8972;
constexpr Duration kRtt = 40ms;

// One search over a path that swallows what is larger than `passes`.
struct SearchedPath {
  explicit SearchedPath(std::size_t passes_in, std::size_t limit = kV4Usual, bool v6 = false)
      : passes(passes_in) {
    search.set_limits(limit, kUsualMtu - udp_overhead(v6), now);
  }

  /// Sends what is due at this moment; the answers are here in no time.
  void drain() {
    for (int guard = 0; guard < 100; ++guard) {
      const auto size = search.poll_probe(kRtt, now);
      if (!size) return;
      sent.push_back(*size);
      if (*size <= passes) search.on_answered(*size, now);
    }
    ADD_FAILURE() << "it spins";
  }
  void run_for(Duration time) {
    const Instant end = now + time;
    drain();
    for (int guard = 0; guard < 10'000; ++guard) {
      const auto next = search.next_timeout();
      if (!next || *next > end) break;
      now = std::max(now, *next);
      search.on_timeout(now);
      drain();
    }
    now = end;
  }
  void prove() {
    search.enable(kRtt, now);
    drain();
  }
  void use() {
    prove();
    search.set_in_use(true, now);
  }

  MtuSearch search;
  Instant now = Instant{} + 1000s;
  std::size_t passes;
  std::vector<std::size_t> sent;
};

TEST(MtuSearch, KnowsAndDoesNothingBeforeThePairAnswers) {
  SearchedPath path(1472);
  path.search.set_in_use(true, path.now);
  path.run_for(1h);
  EXPECT_EQ(path.search.state(), MtuState::Disabled);
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
  EXPECT_TRUE(path.sent.empty());
  EXPECT_FALSE(path.search.next_timeout());
}

TEST(MtuSearch, ProvesTheBaseSizeWithOneFullPing) {
  SearchedPath path(1472);
  path.search.enable(kRtt, path.now);
  EXPECT_EQ(path.search.state(), MtuState::Base);
  EXPECT_EQ(path.search.poll_probe(kRtt, path.now), kBaseDatagram);
  EXPECT_FALSE(path.search.poll_probe(kRtt, path.now));
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
  path.search.on_answered(kBaseDatagram, path.now + kRtt);
  EXPECT_EQ(path.search.state(), MtuState::Searching);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
}

TEST(MtuSearch, AFullPingThatLeftBesideTheFirstSmallOneIsWaitedForAndNotRepeated) {
  SearchedPath path(1472);
  path.search.on_early_probe(path.now);
  path.now += kRtt;
  path.search.enable(kRtt, path.now);
  EXPECT_FALSE(path.search.poll_probe(kRtt, path.now));
  path.search.on_answered(kBaseDatagram, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
}

TEST(MtuSearch, AFullPingMayBeAnsweredBeforeTheSmallOne) {
  SearchedPath path(1472);
  path.search.on_early_probe(path.now);
  path.search.on_answered(kBaseDatagram, path.now + kRtt);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
  path.search.enable(kRtt, path.now + kRtt);
  EXPECT_EQ(path.search.state(), MtuState::Searching);
}

TEST(MtuSearch, AnEarlyFullPingThatIsLostCostsLittleMoreThanARoundTrip) {
  SearchedPath path(1472);
  path.search.on_early_probe(path.now);
  path.now += kRtt;
  path.search.enable(kRtt, path.now);
  const auto next = path.search.next_timeout();
  ASSERT_TRUE(next);
  EXPECT_LE(*next - path.now, Duration(20ms));
  path.search.on_timeout(*next);
  EXPECT_EQ(path.search.poll_probe(kRtt, *next), kBaseDatagram);
}

TEST(MtuSearch, ThreeUnansweredFullPingsAreAnErrorWithinAFewRoundTrips) {
  SearchedPath path(1199);
  path.prove();
  path.run_for(3 * (kRtt + kRtt / 8 + kFirstMtuSlack));
  EXPECT_EQ(path.search.state(), MtuState::Error);
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
  EXPECT_EQ(path.sent, std::vector<std::size_t>(3, kBaseDatagram));
}

TEST(MtuSearch, InErrorItAsksEveryTwoSecondsThenSeldomAndRecoversWithOneAnswer) {
  SearchedPath path(1199);
  path.prove();
  path.run_for(30s);
  EXPECT_NEAR(static_cast<double>(path.sent.size()), 3 + kMtuErrorTries, 2);
  const std::size_t before = path.sent.size();
  path.run_for(10 * kPingStandby);
  EXPECT_LE(path.sent.size() - before, 11u);
  path.passes = 1472;
  path.run_for(kPingStandby + 1s);
  EXPECT_EQ(path.search.state(), MtuState::Searching);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
}

TEST(MtuSearch, DoesNotSearchBeyondTheBaseWhileThePairIsNotInUse) {
  SearchedPath path(1472);
  path.prove();
  path.run_for(1h);
  EXPECT_EQ(path.sent, std::vector<std::size_t>{kBaseDatagram});
  EXPECT_EQ(path.search.state(), MtuState::Searching);
  EXPECT_FALSE(path.search.next_timeout());
}

TEST(MtuSearch, OneProbeIsEnoughOnAPlainEthernet) {
  SearchedPath path(1472);
  path.use();
  path.drain();
  EXPECT_EQ(path.sent, (std::vector<std::size_t>{1200, 1472}));
  EXPECT_EQ(path.search.state(), MtuState::SearchComplete);
  EXPECT_FALSE(path.search.next_timeout()) << "there is nothing to raise it to";
}

struct Found {
  std::size_t mtu, limit_mtu;
  bool v6;
};
class EveryMtu : public testing::TestWithParam<Found> {};

TEST_P(EveryMtu, IsFoundToTheByteWhereItIsCommon) {
  const auto [mtu, limit, v6] = GetParam();
  const std::size_t overhead = udp_overhead(v6);
  SearchedPath path(mtu - overhead, limit - overhead, v6);
  path.use();
  path.run_for(30s);
  EXPECT_EQ(path.search.state(), MtuState::SearchComplete);
  EXPECT_EQ(path.search.datagram_bytes() + overhead, std::min(mtu, limit));
  EXPECT_LE(path.sent.size(), 24u);
}

INSTANTIATE_TEST_SUITE_P(Common, EveryMtu,
                         testing::Values(Found{1500, 1500, false}, Found{1500, 9000, false},
                                         Found{1492, 1500, false}, Found{1480, 1500, false},
                                         Found{1464, 1500, true}, Found{1450, 1500, false},
                                         Found{1440, 1500, true}, Found{1428, 9000, false},
                                         Found{1420, 1500, false}, Found{1420, 9000, true},
                                         Found{1400, 1500, false}, Found{1280, 1500, true},
                                         Found{9000, 9000, false}, Found{9000, 9000, true},
                                         Found{9000, 1500, false}, Found{1500, 1420, false}));

TEST(MtuSearch, AnySizeIsFoundWithinAStepAndNeverExceeded) {
  for (std::size_t payload = kBaseDatagram; payload <= 8972; payload += 7) {
    SearchedPath path(payload, kV4Jumbo);
    path.use();
    path.run_for(60s);
    ASSERT_EQ(path.search.state(), MtuState::SearchComplete) << payload;
    ASSERT_LE(path.search.datagram_bytes(), payload);
    ASSERT_LE(payload - path.search.datagram_bytes(), kMtuStep) << payload;
  }
}

TEST(MtuSearch, ALostProbeIsRepeatedBeforeItsSizeCountsAsTooLarge) {
  SearchedPath path(1472);
  path.use();
  path.passes = 1200;
  path.drain();  // the first one is lost
  EXPECT_EQ(path.sent.back(), 1472u);
  path.passes = 1472;
  path.run_for(kPingRetry);
  EXPECT_EQ(path.search.datagram_bytes(), 1472u);
  EXPECT_EQ(path.sent, (std::vector<std::size_t>{1200, 1472, 1472}));
}

TEST(MtuSearch, TriesLargerSizesAgainAfterTenMinutes) {
  SearchedPath path(1392);
  path.use();
  path.run_for(60s);
  EXPECT_EQ(path.search.datagram_bytes(), 1392u);
  path.passes = 1472;
  const std::size_t before = path.sent.size();
  path.run_for(kMtuRaise - 61s);
  EXPECT_EQ(path.sent.size(), before);
  path.run_for(62s);
  EXPECT_EQ(path.search.datagram_bytes(), 1472u);
}

TEST(MtuSearch, FallsToTheBaseAtOnceInABlackHoleAndSearchesAgain) {
  SearchedPath path(1472);
  path.use();
  path.run_for(1s);
  path.passes = 1392;
  path.search.on_black_hole(path.now);
  EXPECT_EQ(path.search.state(), MtuState::Base);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
  path.search.on_answered(1472, path.now);  // sent before
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
  path.run_for(20s);
  EXPECT_EQ(path.search.datagram_bytes(), 1392u);
}

TEST(MtuSearch, ABlackHoleBelowTheBaseIsAnError) {
  SearchedPath path(1472);
  path.use();
  path.run_for(1s);
  path.passes = 1000;
  path.search.on_black_hole(path.now);
  path.run_for(kMaxMtuProbes * kPingRetry);
  EXPECT_EQ(path.search.state(), MtuState::Error);
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
}

TEST(MtuSearch, WhatThisMachineRefusesToSendIsTooLargeWithoutFurtherTries) {
  SearchedPath path(8972, kV4Jumbo);
  path.use();
  EXPECT_EQ(path.search.poll_probe(kRtt, path.now), kV4Jumbo);
  path.search.on_too_big(kV4Jumbo, path.now);
  EXPECT_EQ(path.search.poll_probe(kRtt, path.now), kV4Usual) << "at once, and not three times";
}

TEST(MtuSearch, AnInterfaceThatShrinksShrinksWhatIsInUse) {
  SearchedPath path(8972, kV4Jumbo);
  path.use();
  path.drain();
  EXPECT_EQ(path.search.datagram_bytes(), kV4Jumbo);
  path.passes = 1472;
  path.search.on_too_big(kV4Jumbo, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
  path.run_for(30s);
  EXPECT_EQ(path.search.datagram_bytes(), 1472u);
  path.search.set_limits(1392, kV4Usual, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), 1392u);
  path.search.on_too_big(kBaseDatagram, path.now);
  EXPECT_EQ(path.search.state(), MtuState::Error);
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
}

TEST(MtuSearch, ALargerInterfaceStartsTheSearchAgain) {
  SearchedPath path(8972);
  path.use();
  path.drain();
  EXPECT_EQ(path.search.datagram_bytes(), kV4Usual);
  path.search.set_limits(kV4Jumbo, kV4Usual, path.now);
  path.drain();
  EXPECT_EQ(path.search.datagram_bytes(), kV4Jumbo);
}

TEST(MtuSearch, IgnoresAnswersToSizesThatWereNeverSentOrMakeNoSense) {
  SearchedPath path(1200);
  path.use();
  for (const std::size_t size : {0u, 61u, 1199u, 1201u, 1471u, 1473u, 9000u, 65'535u})
    path.search.on_answered(size, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
}

TEST(MtuSearch, TakesAnAnswerThatComesAfterItsSizeWasGivenUp) {
  SearchedPath path(1200);
  path.use();
  path.run_for(3 * kPingRetry);
  path.search.on_answered(1472, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), 1472u);
  EXPECT_EQ(path.search.state(), MtuState::SearchComplete);
}

TEST(MtuSearch, ShrinkingLimitsDuringASearchBoundIt) {
  SearchedPath path(8972, kV4Jumbo);
  path.use();
  EXPECT_EQ(path.search.poll_probe(kRtt, path.now), kV4Jumbo);
  path.search.set_limits(kV4Usual, kV4Usual, path.now);
  path.search.on_answered(kV4Jumbo, path.now);
  EXPECT_EQ(path.search.datagram_bytes(), kBaseDatagram);
  path.drain();
  EXPECT_EQ(path.search.datagram_bytes(), kV4Usual);
}

TEST(MtuSearch, AbsurdInterfacesAreClamped) {
  for (const std::size_t limit : {0u, 68u, 576u, 65'535u}) {
    SearchedPath path(65'535, limit);
    path.use();
    path.run_for(10s);
    EXPECT_EQ(path.search.datagram_bytes(), limit > kMaxDatagram ? kMaxDatagram : kBaseDatagram);
  }
}

TEST(MtuSearch, ASuspectPairMustProveTheBaseSizeAgain) {
  SearchedPath path(1472);
  path.use();
  path.drain();
  path.search.reset();
  EXPECT_EQ(path.search.state(), MtuState::Disabled);
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
  path.search.on_answered(1472, path.now);  // of before
  EXPECT_EQ(path.search.datagram_bytes(), 0u);
  path.search.on_black_hole(path.now);
  path.search.on_too_big(1472, path.now);
  EXPECT_EQ(path.search.state(), MtuState::Disabled);
  path.prove();
  EXPECT_GE(path.search.datagram_bytes(), kBaseDatagram);
}

}  // namespace
}  // namespace dh::path
