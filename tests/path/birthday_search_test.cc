#include "path/birthday_search.hh"

#include <set>

#include <gtest/gtest.h>

namespace dh::path {
namespace {

const Endpoint kTarget{IpAddress::v4(5, 5, 5, 21), 41000};

struct Whole {
  std::vector<BirthdaySearch::Probe> probes;
  Instant over{};
};

Whole run(BirthdaySearch& search) {
  Whole out;
  Instant now{};
  while (!search.over(now)) {
    while (const auto probe = search.poll(now)) out.probes.push_back(*probe);
    const auto next = search.next_timeout();
    now = next && *next > now ? *next : now + 1ms;
  }
  out.over = now;
  return out;
}

TEST(BirthdaySearch, AnOpenerKeepsItsPortsOpenUntilTheSearcherHasTriedAllOfIts) {
  SeededRng rng(1);
  BirthdaySearch opener(BirthdaySearch::Role::Opener, {kTarget}, Instant{}, rng);
  opener.set_sockets(10, kBirthdaySockets);
  BirthdaySearch searcher(BirthdaySearch::Role::Searcher, {kTarget}, Instant{}, rng);
  const Whole opened = run(opener), searched = run(searcher);
  EXPECT_EQ(opened.probes.size(), kBirthdaySockets);
  EXPECT_EQ(searched.probes.size(), kBirthdayProbes);
  EXPECT_GE(opened.over, searched.over);
  EXPECT_LE(opened.over, Instant{} + kBirthdayTime);
}

TEST(BirthdaySearch, AnOpenerSendsOnceFromEverySocketAndNotAsFarAsTheOtherGateway) {
  SeededRng rng(1);
  BirthdaySearch opener(BirthdaySearch::Role::Opener, {kTarget}, Instant{}, rng);
  opener.set_sockets(10, kBirthdaySockets);
  std::set<SocketId> sockets;
  for (const auto& probe : run(opener).probes) {
    sockets.insert(probe.socket);
    EXPECT_EQ(probe.to, kTarget);
    EXPECT_EQ(probe.ttl, kSearchOpenerTtl);
  }
  EXPECT_EQ(sockets.size(), kBirthdaySockets);
  EXPECT_EQ(*sockets.begin(), 10u);
}

TEST(BirthdaySearch, ASearcherTriesPortsOfTheOneAddressAtABoundedRate) {
  SeededRng rng(1);
  BirthdaySearch searcher(BirthdaySearch::Role::Searcher, {kTarget}, Instant{}, rng);
  Instant now{};
  std::size_t sent = 0;
  for (; now <= Instant{} + 1s; now += 1ms) {
    while (const auto probe = searcher.poll(now)) {
      ++sent;
      EXPECT_EQ(probe->to.address, kTarget.address);
      EXPECT_GE(probe->to.port, 1024);
      EXPECT_EQ(probe->ttl, 0);
    }
  }
  EXPECT_LE(sent, 251u);
  EXPECT_GE(sent, 250u);
}

}  // namespace
}  // namespace dh::path
