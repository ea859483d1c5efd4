#include "path/stun_gatherer.hh"

#include <gtest/gtest.h>

#include "path/finder_world.hh"
#include "wire/stun.hh"

namespace dh::path {
namespace {

using test::at;

struct OneServer {
  OneServer() : gatherer(rng) {
    gatherer.add_server(server, now);
    gatherer.open_socket(kSocketV4, false, now);
  }
  /// When it asked, in seconds from the start.
  std::vector<double> run_for(Duration time, bool answered) {
    std::vector<double> asked;
    const Instant end = now + time;
    Bytes buffer(2048);
    while (now < end) {
      while (const auto sent = gatherer.poll_transmit(buffer, now)) {
        asked.push_back(to_seconds(now - start));
        if (!answered) continue;
        const auto request = wire::stun::classify(ByteView(buffer).first(sent->size));
        gatherer.on_datagram(sent->socket, sent->to, wire::stun::make_reply(request.id, at("5.5.5.21:7000")),
                             now);
      }
      now = std::min(end, std::max(now, gatherer.next_timeout().value_or(end)));
    }
    return asked;
  }

  SeededRng rng{1};
  Endpoint server = at("9.9.9.1:3478");
  Instant start = Instant{} + 100s, now = start;
  StunGatherer gatherer;
};

TEST(StunGatherer, ASilentServerIsAskedThreeTimesAndThenMoreAndMoreSeldom) {
  OneServer world;
  const auto asked = world.run_for(60s, false);
  ASSERT_EQ(asked.size(), 7u * 3);
  const std::vector<double> expected = {0, 2.05, 5.1, 10.15, 19.2, 36.25, 57.3};  // 1.05 s for three tries
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(asked[3 * i], expected[i], 0.001);
}

TEST(StunGatherer, AnAnswerAfterSilenceIsNewsAndEndsTheQuickQuestions) {
  OneServer world;
  world.run_for(3s, false);
  EXPECT_FALSE(world.gatherer.take_changed());
  EXPECT_EQ(world.run_for(3s, true).size(), 1u);
  EXPECT_TRUE(world.gatherer.take_changed());
  EXPECT_EQ(world.run_for(18s, true).size(), 0u);  // refreshed after 20 s and more
  EXPECT_EQ(world.gatherer.mapped(kSocketV4), std::vector{at("5.5.5.21:7000")});
}

}  // namespace
}  // namespace dh::path
