#include "session/delivery_watch.hh"

#include <gtest/gtest.h>

namespace dh::session {
namespace {

using Advice = DeliveryWatch::Advice;

// A stream whose paths deliver so much; time goes on in samples.
struct Stream {
  DeliveryWatch watch;
  DeliveryWatch::Sample sample;
  Instant now{1h};
  double direct_rate = 0, relay_rate = 0, loss = 0;  // bytes per second; share of packets

  Stream() {
    sample.backlog = true;
    sample.relay_bound = 20e6;
  }
  Advice run(Duration time) {  // until the first advice that is not Stay
    for (const Instant end = now + time; now < end; now += DeliveryWatch::kInterval) {
      const double rate = sample.direct ? direct_rate : relay_rate;
      const double bytes = rate * to_seconds(DeliveryWatch::kInterval);
      sample.delivered += static_cast<std::uint64_t>(bytes);
      if (sample.direct) {
        sample.packets += 1000;
        sample.lost += static_cast<std::uint64_t>(1000 * loss);
      }
      const Advice advice = watch.on_sample(sample, now);
      if (advice != Advice::Stay) return advice;
    }
    return Advice::Stay;
  }
};

TEST(DeliveryWatch, LeavesADirectPathThatDeliversLessThanHalfOfWhatTheRelayDid) {
  Stream stream;
  stream.relay_rate = 10e6;
  EXPECT_EQ(stream.run(5s), Advice::Stay);
  stream.sample.direct = true;
  stream.direct_rate = 4e6;
  EXPECT_EQ(stream.run(5s), Advice::Leave);
}

TEST(DeliveryWatch, KeepsADirectPathThatIsALittleSlower) {
  Stream stream;
  stream.relay_rate = 10e6;
  EXPECT_EQ(stream.run(5s), Advice::Stay);
  stream.sample.direct = true;
  stream.direct_rate = 6e6;
  EXPECT_EQ(stream.run(60s), Advice::Stay);
}

TEST(DeliveryWatch, LooksAtAnUnknownRelayWhenPacketsAreLostAndKeepsWhatIsBetter) {
  Stream stream;
  stream.sample.direct = true;
  stream.direct_rate = 0.2e6;
  stream.loss = 0.15;
  stream.relay_rate = 5e6;
  ASSERT_EQ(stream.run(5s), Advice::Leave);
  stream.sample.direct = false;
  EXPECT_EQ(stream.run(60s), Advice::Stay);
}

TEST(DeliveryWatch, ComesBackFromARelayThatIsNoBetter) {
  Stream stream;
  stream.sample.direct = true;
  stream.direct_rate = 2e6;
  stream.loss = 0.15;
  stream.relay_rate = 3e6;
  ASSERT_EQ(stream.run(5s), Advice::Leave);
  stream.sample.direct = false;
  EXPECT_EQ(stream.run(5s), Advice::Return);
  stream.sample.direct = true;
  EXPECT_EQ(stream.run(60s), Advice::Stay) << "the relay's rate is known now";
}

TEST(DeliveryWatch, LossAloneIsNoReasonWhereTheDirectPathIsFast) {
  Stream stream;
  stream.sample.direct = true;
  stream.direct_rate = 50e6;  // the relay's window would not allow more than 20
  stream.loss = 0.15;
  EXPECT_EQ(stream.run(60s), Advice::Stay);
}

TEST(DeliveryWatch, LossThatTheControllerLivesWithIsNoReasonToTryTheRelay) {
  Stream stream;
  stream.sample.direct = true;
  stream.direct_rate = 2e6;
  stream.loss = 0.05;
  EXPECT_EQ(stream.run(60s), Advice::Stay);
}

TEST(DeliveryWatch, ASlowSourceSaysNothingAboutThePath) {
  Stream stream;
  stream.relay_rate = 10e6;
  EXPECT_EQ(stream.run(5s), Advice::Stay);
  stream.sample.direct = true;
  stream.sample.backlog = false;
  stream.direct_rate = 0.1e6;
  stream.loss = 0.15;
  EXPECT_EQ(stream.run(60s), Advice::Stay);
}

TEST(DeliveryWatch, AnOldFigureOfTheRelayCountsNoMore) {
  Stream stream;
  stream.relay_rate = 10e6;
  EXPECT_EQ(stream.run(5s), Advice::Stay);
  stream.sample.direct = true;
  stream.sample.backlog = false;
  EXPECT_EQ(stream.run(DeliveryWatch::kRemember), Advice::Stay);
  stream.sample.backlog = true;
  stream.direct_rate = 1e6;
  EXPECT_EQ(stream.run(10s), Advice::Stay);
}

}  // namespace
}  // namespace dh::session
