// Several paths, dead paths, slow readers and early ends.

#include "bulk/limits.hh"
#include "bulk/link.hh"

namespace dh::bulk::test {
namespace {

constexpr PathProperties kRelay{.datagram_bytes = 32'768, .is_relay = true, .initial_rtt = 60ms};
constexpr PathProperties kDirect{.datagram_bytes = 1400, .is_relay = false, .initial_rtt = 20ms};

const StreamAborted* aborted(const std::optional<StreamEvent>& event) {
  return event ? std::get_if<StreamAborted>(&*event) : nullptr;
}

TEST(Paths, APromotionMovesALiveStreamWithoutLosingAByte) {
  World world(1, config_of(1), 20'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.run_for(400ms);
  world.add_path(1, kDirect, {.delay = 5ms});
  const auto before = world.sender.counters().stream_bytes;
  world.sender.prefer_path(1, world.now);
  world.run_for(100ms);
  EXPECT_GT(world.sender.counters().stream_bytes, before);
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_LE(world.sender.counters().resent_bytes,
            200'000u);  // the tail only: the relay delivered what it had
}

TEST(Paths, ADeadPathIsLeftForTheOtherAndItsBytesAreRepaired) {
  World world(2, config_of(2), 5'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(1, kDirect, {.delay = 10ms, .bytes_per_second = 5e6, .queue_packets = 100});
  world.sender.prefer_path(1, world.now);
  world.run_for(300ms);
  world.paths[1].link.dead = true;
  world.run_for(1s);
  ASSERT_TRUE(world.sender.silent_since());
  EXPECT_GT(world.now - *world.sender.silent_since(), Duration(900ms));
  world.sender.prefer_path(0, world.now);
  world.run_for(200ms);
  EXPECT_LT(world.now - *world.sender.silent_since(), Duration(150ms));
  world.run();
  EXPECT_TRUE(world.complete());
}

// As behind an MTU hole: pings found the way, full datagrams are lost.
TEST(Paths, APathThatNeverCarriedAnythingIsGivenUpSooner) {
  World world(12, config_of(12), 20'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(1, kDirect, {.delay = 20ms, .bytes_per_second = 5e6, .queue_packets = 100, .dead = true});
  world.sender.set_path_usable(1, true, 40ms, world.now);
  world.run_for(300ms);
  world.sender.prefer_path(1, world.now);
  const Instant moved = world.now;
  while (!world.sender.stalls_at(1) || *world.sender.stalls_at(1) > world.now) world.run_for(1ms);
  EXPECT_GE(world.now - moved, Duration(120ms));
  EXPECT_LE(world.now - moved, Duration(200ms));
}

TEST(Paths, AStalledPathSaysSoWithinThreeProbeTimeouts) {
  World world(12, config_of(12), 20'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(1, kDirect, {.delay = 25ms, .bytes_per_second = 5e6, .queue_packets = 100});
  world.sender.prefer_path(1, world.now);
  world.run_for(500ms);
  ASSERT_TRUE(world.sender.stalls_at(1));
  EXPECT_GT(*world.sender.stalls_at(1), world.now);
  const Instant died = world.now;
  world.paths[1].link.dead = true;
  while (world.sender.stalls_at(1) && *world.sender.stalls_at(1) > world.now) world.run_for(1ms);
  EXPECT_LT(world.now - died, Duration(600ms));
  EXPECT_GE(world.now - died, Duration(200ms));
  world.sender.set_path_usable(1, false, 0ms, world.now);
  world.receiver.set_path_usable(1, false);
  EXPECT_FALSE(world.sender.stalls_at(1));
  const auto stuck_at = world.sender.counters().stream_bytes;
  world.run_for(300ms);
  EXPECT_GT(world.sender.counters().stream_bytes, stuck_at) << "the relay must have taken over";
  // The route comes back: the same path, keys and numbers, but a congestion window of its own.
  world.paths[1].link.dead = false;
  world.sender.set_path_usable(1, true, 50ms, world.now);
  world.receiver.set_path_usable(1, true);
  world.sender.prefer_path(1, world.now);
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Paths, RemovingThePathInUseRequeuesWhatWasInFlight) {
  World world(3, config_of(3), 3'000'000);
  world.add_path(0, kRelay, {.delay = 30ms});
  world.add_path(1, kDirect, {.delay = 10ms});
  world.sender.prefer_path(1, world.now);
  world.run_for(40ms);
  EXPECT_GT(world.sender.bytes_in_flight(), 0u);
  world.remove_path(1);
  world.paths[1].link.dead = true;
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Paths, AStreamWithoutAnyPathWaitsForOne) {
  World world(4, config_of(4), 100'000);
  world.run_for(1s);
  EXPECT_EQ(world.datagrams, 0u);
  world.add_path(5, kDirect, {});
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Paths, ComeAndGoAtRandomWithoutDamage) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    SeededRng dice(seed);
    World world(seed, config_of(seed), 300'000 + dice.below(2'000'000));
    PathId next = 0;
    std::vector<PathId> live;
    for (int i = 0; i < 30 && !world.done(); ++i) {
      const std::uint64_t what = dice.below(4);
      if (live.empty() || what == 0) {
        const bool relay = dice.chance(0.5);
        LinkProperties link{.loss = dice.unit() * 0.1, .delay = Duration(dice.below(100'000'000))};
        if (relay) {
          link.bytes_per_second = 3e6;
          link.queue_packets = 32;
        }
        world.add_path(next, relay ? kRelay : kDirect, link);
        live.push_back(next++);
      } else if (what == 1) {
        world.sender.prefer_path(live[dice.below(live.size())], world.now);
      } else if (what == 2) {
        const auto victim = live.begin() + static_cast<std::ptrdiff_t>(dice.below(live.size()));
        world.remove_path(*victim);
        live.erase(victim);
      } else {
        auto& link = world.paths[live[dice.below(live.size())]].link;
        link.dead = !link.dead;
      }
      world.run_for(Duration(dice.below(400'000'000)));
    }
    for (const PathId id : live) world.paths[id].link.dead = false;
    if (live.empty()) world.add_path(next, kRelay, {});
    world.run();
    ASSERT_TRUE(world.complete());
  }
}

TEST(Relay, NeverHasMoreInFlightThanTheRelayQueues) {
  World world(5, config_of(5), 20'000'000);
  world.add_path(0, kRelay, {.delay = 30ms, .bytes_per_second = 4e6, .queue_packets = 32});
  for (int i = 0; i < 300 && !world.done(); ++i) {
    world.run_for(20ms);
    ASSERT_LE(world.sender.bytes_in_flight(), kRelayMaxWindowPackets * kRelay.datagram_bytes);
  }
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_EQ(world.sender.counters().packets_lost, 0u);
}

TEST(Blackhole, IsProbedEverySecondAndLeftAtFullRate) {
  World world(6, config_of(6), 400'000'000);
  world.add_path(0, kDirect, {.delay = 10ms, .bytes_per_second = 2e6, .queue_packets = 200});
  world.run_for(3s);
  const auto at = [&] { return world.sender.counters().stream_bytes; };
  std::uint64_t mark = at();
  world.run_for(1s);
  const std::uint64_t rate = at() - mark;
  EXPECT_GT(rate, 1'600'000u);
  world.paths[0].link.dead = true;
  world.run_for(1s);
  mark = world.sender.counters().packets_sent;
  world.run_for(20s);
  const std::uint64_t probes = world.sender.counters().packets_sent - mark;
  EXPECT_GE(probes, 19u);
  EXPECT_LE(probes, 45u);
  EXPECT_GE(world.now - *world.sender.silent_since(), Duration(20s));
  world.paths[0].link.dead = false;
  world.run_for(2s);
  mark = at();
  world.run_for(1s);
  EXPECT_GT(at() - mark, rate * 8 / 10);
}

TEST(Congestion, AQueueBehindASlowLinkIsFilledNotDrowned) {
  World world(7, config_of(7), 10'000'000);
  world.add_path(0, kDirect, {.delay = 20ms, .bytes_per_second = 1.25e6, .queue_packets = 50});
  const Instant start = world.now;
  world.run();
  ASSERT_TRUE(world.complete());
  EXPECT_LT(to_seconds(world.now - start), 9.5);  // 8 s at line rate
  const auto& counters = world.sender.counters();
  EXPECT_LT(counters.packets_lost, counters.packets_sent / 20);
}

TEST(BackPressure, ASlowReaderHoldsTheSenderBackWithinTheWindow) {
  StreamConfig config = config_of(8);
  config.receive_window = config.most_receive_window = 100'000;
  World world(8, config, 1'000'000);
  world.read_at(200'000);
  world.add_path(0, kDirect, {.loss = 0.02});
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_LE(world.most_buffered, 100'000u);
  EXPECT_GT(to_seconds(world.now - Instant(1s)), 4.5);
}

TEST(BackPressure, AReaderSlowerThanThePathCausesNoRepeats) {
  StreamConfig config = config_of(8);
  config.receive_window = 500'000;
  World world(8, config, 10'000'000);
  world.read_at(2e6);
  world.add_path(0, kDirect, {.delay = 20ms, .bytes_per_second = 12e6, .queue_packets = 400});
  world.run();
  EXPECT_TRUE(world.complete());
  EXPECT_LE(world.sender.counters().resent_bytes, 100'000u);
}

TEST(BackPressure, AClosedWindowIsProbedAndReopensThoughTheUpdateIsLost) {
  StreamConfig config = config_of(9);
  config.receive_window = 50'000;
  World world(9, config, 500'000);
  world.add_path(0, kDirect, {});
  world.reader_stopped = true;
  world.run_for(10s);
  EXPECT_EQ(world.receiver.buffered_bytes(), 50'000u);
  const auto sent = world.sender.counters().packets_sent;
  world.run_for(10s);
  EXPECT_LE(world.sender.counters().packets_sent - sent, 25u);
  world.paths[0].link.dead = true;
  world.reader_stopped = false;
  world.run_for(5ms);  // the update dies on the wire
  world.paths[0].link.dead = false;
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Ends, ALateConfirmationIsWaitedFor) {
  World world(10, config_of(10), 10'000);
  world.confirm_delay = 30s;
  world.add_path(0, kDirect, {});
  world.run_for(20s);
  EXPECT_TRUE(world.ended);
  EXPECT_FALSE(world.sender_end);
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Ends, TheSenderLearnsOfCompletionEvenAfterAnOutageThatOutlastsTheReceiversPatience) {
  World world(11, config_of(11), 10'000);
  world.confirm_delay = 1s;
  world.add_path(0, kDirect, {});
  world.run_for(900ms);
  ASSERT_TRUE(world.ended);
  world.paths[0].link.dead = true;
  world.run_for(kLinger);
  EXPECT_FALSE(world.receiver_end);
  world.run_for(1s);
  EXPECT_TRUE(world.receiver_end);
  EXPECT_FALSE(world.sender_end);
  world.paths[0].link.dead = false;
  world.run();
  EXPECT_TRUE(world.complete());
}

TEST(Ends, AReceiverToldThatTheSenderIsGoneDoesNotLingerLong) {
  World world(15, config_of(15), 10'000);
  world.confirm_delay = 1s;
  world.add_path(0, kDirect, {});
  world.run_for(900ms);
  world.paths[0].link.dead = true;
  world.run_for(1s);
  world.receiver.on_sender_gone(world.now);
  world.run_for(kLingerWhenGone - 10ms);
  EXPECT_FALSE(world.receiver_end);
  world.run_for(20ms);
  ASSERT_TRUE(world.receiver_end);
  EXPECT_TRUE(std::holds_alternative<StreamComplete>(*world.receiver_end));
}

TEST(Aborts, FromEitherSideReachTheOtherWithTheirTrueReasonOnce) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    SeededRng dice(seed);
    World world(seed, config_of(seed), 2'000'000);
    world.add_path(0, kDirect, {.loss = dice.unit() * 0.2, .delay = Duration(dice.below(100'000'000))});
    world.run_for(Duration(dice.below(500'000'000)));
    // Confirmed, or about to be: nothing is left to abort.
    if (world.sender_end || world.received.size() == world.source.size()) continue;
    const bool by_sender = dice.chance(0.5);
    if (by_sender) {
      world.sender.abort(AbortCode::ReadFailed, "disk on fire", world.now);
    } else {
      world.receiver.abort(AbortCode::WriteFailed, "disk on fire", world.now);
    }
    world.run();
    const StreamAborted* ours = aborted(by_sender ? world.sender_end : world.receiver_end);
    const StreamAborted* theirs = aborted(by_sender ? world.receiver_end : world.sender_end);
    ASSERT_TRUE(ours && theirs);
    EXPECT_FALSE(ours->by_peer);
    EXPECT_TRUE(theirs->by_peer);
    EXPECT_EQ(theirs->code, by_sender ? AbortCode::ReadFailed : AbortCode::WriteFailed);
    EXPECT_EQ(theirs->reason, "disk on fire");
    world.run_for(30s);  // and then silence
    EXPECT_FALSE(world.sender.next_timeout());
    EXPECT_FALSE(world.receiver.next_timeout());
    EXPECT_FALSE(world.sender.silent_since());
  }
}

TEST(Aborts, BothAtOnceKeepTheirOwnReasons) {
  World world(12, config_of(12), 2'000'000);
  world.add_path(0, kDirect, {});
  world.run_for(30ms);
  world.sender.abort(AbortCode::Cancelled, "a", world.now);
  world.receiver.abort(AbortCode::WriteFailed, "b", world.now);
  world.run();
  ASSERT_TRUE(aborted(world.sender_end) && aborted(world.receiver_end));
  EXPECT_EQ(aborted(world.sender_end)->code, AbortCode::Cancelled);
  EXPECT_EQ(aborted(world.receiver_end)->code, AbortCode::WriteFailed);
}

TEST(Aborts, OnADeadPathEndAfterBoundedTries) {
  World world(13, config_of(13), 2'000'000);
  world.add_path(0, kDirect, {});
  world.run_for(30ms);
  world.paths[0].link.dead = true;
  const auto sent = world.sender.counters().packets_sent;
  world.sender.abort(AbortCode::Cancelled, std::string(500, 'x'), world.now);
  world.run_for(60s);
  EXPECT_EQ(world.sender.counters().packets_sent - sent, static_cast<std::uint64_t>(kMaxAbortTries));
  EXPECT_FALSE(world.sender.next_timeout());
  EXPECT_EQ(aborted(world.sender_end)->reason.size(), 200u);
}

TEST(Aborts, AfterTheEndChangeNothing) {
  World world(14, config_of(14), 1000);
  world.add_path(0, kDirect, {});
  world.run();
  ASSERT_TRUE(world.complete());
  world.sender.abort(AbortCode::Cancelled, "", world.now);
  world.receiver.abort(AbortCode::Cancelled, "", world.now);
  world.run_for(5s);
  EXPECT_TRUE(world.complete());
}

}  // namespace
}  // namespace dh::bulk::test
