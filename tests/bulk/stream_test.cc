#include "bulk/link.hh"
#include "bulk/stream_memory.hh"

namespace dh::bulk::test {
namespace {

TEST(Stream, CarriesBytesOverACleanPathAndCompletesOnBothSides) {
  World world(1, config_of(1), 1'000'000);
  world.add_path(0, {}, {});
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_EQ(world.sender.counters().stream_bytes, 1'000'000u);
  EXPECT_EQ(world.sender.counters().packets_lost, 0u);
  EXPECT_EQ(world.receiver.counters().forged, 0u);
}

TEST(Stream, OfNoBytesCompletes) {
  World world(2, config_of(2), 0);
  world.add_path(0, {}, {});
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Stream, SurvivesLossReorderingDuplicationCorruptionAndForgery) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    SeededRng dice(seed);
    StreamConfig config = config_of(seed);
    config.receive_window = 64 * 1024 + dice.below(1 << 20);
    config.send_buffer = static_cast<std::size_t>(64 * 1024 + dice.below(1 << 20));
    config.most_receive_window = dice.chance(0.5) ? 0 : 4 << 20;
    config.most_send_buffer = dice.chance(0.5) ? 0 : 4 << 20;
    config.controller = dice.chance(0.5) ? Controller::Bbr : Controller::Cubic;
    config.key_update_packets = dice.chance(0.5) ? 20 + dice.below(100) : 0;
    PathProperties properties;
    properties.is_relay = dice.chance(0.3);
    properties.datagram_bytes = properties.is_relay ? 16'384 : 1200;
    LinkProperties link;
    link.loss = dice.unit() * 0.2;
    link.duplicate = dice.unit() * 0.1;
    link.corrupt = dice.unit() * 0.05;
    link.forge = dice.unit() * 0.1;
    link.delay = Duration(dice.below(300'000'000));
    link.jitter = dice.chance(0.5) ? Duration(dice.below(60'000'000)) : 0ms;
    World world(seed, config, dice.below(400'000));
    world.threads = dice.chance(0.5);
    world.writes_in_place = dice.chance(0.5);
    world.add_path(0, properties, link);
    world.run();
    ASSERT_TRUE(world.complete()) << "sent " << world.sender.counters().packets_sent << " lost "
                                  << world.sender.counters().packets_lost << " confirmed "
                                  << world.sender.counters().stream_bytes << " of " << world.source.size()
                                  << " at " << to_seconds(world.now - Instant(1s)) << " s";
    ASSERT_LE(world.most_buffered, std::max(config.receive_window, config.most_receive_window));
  }
}

TEST(Stream, OffersRoomForWhatWillLeaveSoonAndNotForLess) {
  SeededRng rng(1);
  Instant now{1s};
  StreamConfig config = config_of(4);
  config.send_buffer = 4 << 20;
  Sender sender(config, now, rng);
  EXPECT_TRUE(sender.room().empty());  // no path
  sender.add_path(0, {.datagram_bytes = 1200}, now);
  const std::size_t ahead = kPacketsAhead * 1200;
  const std::size_t piece = StreamMemory::kChunkBytes;
  EXPECT_EQ(sender.room().size(), std::min(ahead, piece));
  sender.commit(ahead / 2);
  EXPECT_EQ(sender.room().size(),
            std::min(ahead, piece) - ahead / 2);  // filled up, however little is missing ...
  sender.commit(1);
  EXPECT_TRUE(sender.room().empty());  // ... once half of it has left
  Bytes out(1200);
  ASSERT_TRUE(sender.poll_transmit(out, now));
  EXPECT_FALSE(sender.room().empty());
  sender.finish();
  EXPECT_TRUE(sender.room().empty());
}

TEST(Stream, OffersNoScrapsOfAFullBuffer) {
  SeededRng rng(1);
  Instant now{1s};
  StreamConfig config = config_of(5);
  config.send_buffer = 64 << 10;
  Sender sender(config, now, rng);
  sender.add_path(0, {.datagram_bytes = 1200}, now);
  sender.commit(std::min<std::size_t>(sender.room().size(), 60 << 10));
  Bytes out(1200);
  while (sender.poll_transmit(out, now)) {
  }
  EXPECT_GT(sender.writable(), 0u);
  EXPECT_TRUE(sender.room().empty());  // an eighth is the least
}

TEST(Stream, UsesTheChosenControllerOnDirectPathsOnly) {
  StreamConfig config = config_of(3);
  config.controller = Controller::Bbr;
  World world(3, config, 3'000'000);
  world.add_path(0, {.datagram_bytes = 16'384, .is_relay = true}, {.bytes_per_second = 1e6});
  world.add_path(1, {}, {.bytes_per_second = 1e6});
  EXPECT_STREQ(world.sender.controller_report(0)->name, "cubic");
  EXPECT_STREQ(world.sender.controller_report(1)->name, "bbr");
  EXPECT_FALSE(world.sender.controller_report(2));
  world.sender.prefer_path(1, world.now);
  world.run_for(1s);
  EXPECT_NEAR(world.sender.controller_report(1)->bandwidth, 1e6, 0.05e6);
  EXPECT_GE(world.sender.controller_report(1)->min_rtt, 20ms);
  world.sender.set_path_usable(1, false, 20ms, world.now);
  world.sender.set_path_usable(1, true, 20ms, world.now);
  EXPECT_EQ(world.sender.controller_report(1)->bandwidth, 0);  // another route: nothing learnt holds
  EXPECT_STREQ(world.sender.controller_report(1)->name, "bbr");
  world.run();
  EXPECT_TRUE(world.complete());
}

}  // namespace
}  // namespace dh::bulk::test
