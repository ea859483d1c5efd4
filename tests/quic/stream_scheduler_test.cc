#include "quic/stream_scheduler.hh"

#include <map>

#include <gtest/gtest.h>

namespace dh::quic {
namespace {

TEST(StreamScheduler, GivesNobodyATurnWhenNobodyHasAnything) {
  StreamScheduler scheduler;
  EXPECT_EQ(scheduler.next(), -1);
  scheduler.activate(4);
  EXPECT_EQ(scheduler.next(), 4);
  scheduler.deactivate(4);
  EXPECT_EQ(scheduler.next(), -1);
}

TEST(StreamScheduler, SharesEvenlyAmongThoseThatGoOn) {
  StreamScheduler scheduler;
  for (std::int64_t id = 0; id < 40; id += 4) scheduler.activate(id);
  std::map<std::int64_t, std::size_t> sent;
  for (int i = 0; i < 10'000; ++i) {
    const std::int64_t id = scheduler.next();
    const std::size_t size = id % 8 == 0 ? 1200 : 8000;  // packets of one are larger
    scheduler.charge(id, size);
    sent[id] += size;
  }
  for (const auto& [id, bytes] : sent)
    EXPECT_NEAR(double(bytes), double(sent[0]), 3.0 * kStreamQuantum) << id;
}

TEST(StreamScheduler, ServesWhoBeginsBeforeThoseWhoGoOn) {
  StreamScheduler scheduler;
  for (std::int64_t id = 0; id < 40; id += 4) scheduler.activate(id);
  for (int i = 0; i < 1000; ++i) scheduler.charge(scheduler.next(), 1200);
  scheduler.activate(400);
  EXPECT_EQ(scheduler.next(), 400);
}

TEST(StreamScheduler, WhoBeginsAgainAndAgainStarvesNobody) {
  StreamScheduler scheduler;
  scheduler.activate(0);
  scheduler.activate(4);
  std::size_t others = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t id = scheduler.next();
    scheduler.charge(id, kStreamQuantum);
    if (id == 4) ++others;
  }
  EXPECT_EQ(others, 500u);
}

}  // namespace
}  // namespace dh::quic
