#include "quic/connection.hh"

#include "quic/quic_world.hh"

namespace dh::quic::test {
namespace {

TEST(Quic, EstablishesInOneRoundTripAndSaysSoOnBothSides) {
  QuicWorld world;
  world.establish();
  EXPECT_LE(world.now.time_since_epoch(), 40ms);
  EXPECT_TRUE(world.client().is_established());
  EXPECT_TRUE(world.server().is_established());
}

TEST(Quic, AnswersAnotherSecretWithSilence) {
  QuicWorld world;
  world.configs[0].psk.expose_mutable()[0] ^= std::byte{1};
  world.start();
  world.run(20s);
  EXPECT_FALSE(world.seen[0].established);
  EXPECT_FALSE(world.seen[1].established);
  EXPECT_EQ(world.sent[0], 0u);  // towards the client
  EXPECT_GT(world.server().counters().refused, 0u);
  EXPECT_FALSE(world.server().is_closed());
}

TEST(Quic, AnswersAnotherConnectionIdWithSilenceAndSpendsNothingOnIt) {
  QuicWorld world;
  world.configs[0].first_connection_id[15] ^= std::byte{1};
  world.start();
  world.run(20s);
  EXPECT_FALSE(world.seen[1].established);
  EXPECT_EQ(world.sent[0], 0u);
  EXPECT_GT(world.server().counters().foreign, 0u);
  EXPECT_EQ(world.server().counters().refused, 0u);
}

TEST(Quic, AStrangersInitialDoesNotKeepTheOwnerOfTheSecretOut) {
  QuicWorld world;
  Config thief = world.configs[0];
  thief.psk = Secret<32>();
  world.start();
  world.wire.clear();  // the honest first packet is late
  Connection stranger(thief, world.now, world.rng);
  Bytes out(kMaxDatagramBytes);
  while (const auto size = stranger.poll_transmit(out, world.now)) world.send(1, ByteView(out).first(*size));
  ASSERT_TRUE(world.run(5s, [&] { return world.seen[0].established && world.seen[1].established; }));
  EXPECT_EQ(world.server().counters().refused, 1u);
}

TEST(Quic, IsNoJudgeOfNoise) {
  QuicWorld world;
  world.establish();
  for (std::size_t size = 0; size < 200; ++size) {
    Bytes noise(size);
    world.rng.fill(noise);
    EXPECT_FALSE(world.server().on_datagram(noise, world.now));
    EXPECT_FALSE(world.client().on_datagram(noise, world.now));
  }
  EXPECT_TRUE(world.client().is_established());
  EXPECT_TRUE(world.server().is_established());
}

TEST(Quic, CarriesAStreamBothWaysWithItsEnds) {
  QuicWorld world;
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  Pump up(world, 0, stream, pattern(700'000, 1)), down(world, 1, stream, pattern(900'000, 2));
  world.application = [&](std::size_t at) {
    if (at == 0) up.go();
    if (at == 1 && !world.seen[1].opened.empty()) down.go();
  };
  ASSERT_TRUE(world.run(20s, [&] { return world.seen[0].ended[stream] && world.seen[1].ended[stream]; }));
  EXPECT_EQ(world.seen[1].data[stream], up.data());
  EXPECT_EQ(world.seen[0].data[stream], down.data());
  world.client().release(stream, world.now);
  world.server().release(stream, world.now);
  world.run(1s);
  EXPECT_EQ(world.client().open_streams(), 0u);
  EXPECT_EQ(world.server().open_streams(), 0u);
}

TEST(Quic, HalfCloseLeavesTheOtherDirectionOpen) {
  QuicWorld world;
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  world.client().write(stream, as_bytes("question"));
  world.client().finish(stream);
  ASSERT_TRUE(world.run(1s, [&] { return world.seen[1].ended[stream]; }));
  EXPECT_EQ(world.client().writable(stream), 0u);
  world.server().write(stream, as_bytes("answer"));
  world.run(1s);
  EXPECT_EQ(as_text(world.seen[0].data[stream]), "answer");
  EXPECT_FALSE(world.seen[0].ended[stream]);
  world.server().finish(stream);
  ASSERT_TRUE(world.run(1s, [&] { return world.seen[0].ended[stream]; }));
}

TEST(Quic, ResetArrivesWithItsCode) {
  QuicWorld world;
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  world.client().write(stream, pattern(1000));
  world.run(100ms);
  world.client().reset(stream, 0x101);
  world.client().stop_sending(stream, 0x102);
  ASSERT_TRUE(world.run(1s, [&] { return world.seen[1].reset.contains(stream); }));
  EXPECT_EQ(world.seen[1].reset[stream], 0x101u);
  ASSERT_TRUE(world.run(1s, [&] { return world.seen[1].stopped.contains(stream); }));
  EXPECT_EQ(world.server().writable(stream), 0u);
  world.client().release(stream, world.now);
  world.server().release(stream, world.now);
  world.run(1s);
  EXPECT_EQ(world.client().open_streams(), 0u);
  EXPECT_EQ(world.server().open_streams(), 0u);
}

TEST(Quic, ASlowReaderHoldsBackItsStreamAndNobodyElse) {
  QuicWorld world;
  world.establish();
  world.reads[1] = false;
  const StreamId slow = world.client().open_stream().value(), fast = world.client().open_stream().value();
  Pump to_slow(world, 0, slow, pattern(2'000'000)), to_fast(world, 0, fast, pattern(2'000'000));
  world.application = [&](std::size_t at) {
    if (at == 0) {
      to_slow.go();
      to_fast.go();
    } else {
      world.read(1, fast);
    }
  };
  ASSERT_TRUE(world.run(20s, [&] { return world.seen[1].ended[fast]; }));
  EXPECT_EQ(world.seen[1].data[fast], to_fast.data());
  EXPECT_FALSE(world.server().readable(slow).empty());
  std::size_t held = 0;
  while (!world.server().readable(slow).empty()) {  // taken without letting the sender know
    const std::size_t piece = world.server().readable(slow).size();
    held += piece;
    world.server().consume(slow, piece, world.now);
  }
  EXPECT_LE(held, kOpeningWindow);
  world.reads[1] = true;
  ASSERT_TRUE(world.run(20s, [&] { return world.read(1, slow), world.seen[1].ended[slow]; }));
}

TEST(Quic, AThousandStreamsAtOnceAllArriveWhole) {
  QuicWorld world;
  world.establish();
  std::vector<StreamId> streams;
  std::deque<Pump> pumps;
  for (std::size_t i = 0; i < 1000; ++i) {
    streams.push_back(world.client().open_stream().value());
    pumps.emplace_back(world, 0, streams.back(), pattern(1000 + 17 * i, i));
  }
  world.application = [&](std::size_t at) {
    if (at == 0) std::for_each(pumps.begin(), pumps.end(), [](Pump& pump) { pump.go(); });
  };
  ASSERT_TRUE(world.run(60s, [&] { return world.seen[1].ended.size() == 1000; }));
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_EQ(world.seen[1].data[streams[i]], pumps[i].data()) << i;
}

TEST(Quic, StreamsBeyondTheLimitBecomeAvailableAgain) {
  QuicWorld world;
  world.establish();
  std::vector<StreamId> streams;
  while (const auto stream = world.client().open_stream()) streams.push_back(*stream);
  EXPECT_EQ(streams.size(), kMaxStreams);
  for (const StreamId stream : streams)
    world.client().reset(stream, 1), world.client().stop_sending(stream, 1);
  world.run(1s);
  for (const StreamId stream : streams)
    world.client().release(stream, world.now), world.server().release(stream, world.now);
  for (const StreamId stream : world.seen[1].opened) world.server().reset(stream, 1);
  world.run(2s);
  EXPECT_GT(world.seen[0].available, 0u);
  EXPECT_TRUE(world.client().open_stream().has_value());
}

TEST(Quic, OnAShortPathAnAnswerTakesTheAcknowledgementAlong) {
  QuicWorld world(1, {.delay = 50us});
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  constexpr std::size_t kRequests = 100;
  std::size_t asked = 0, answered = 0;
  world.application = [&](std::size_t at) {
    Connection& node = *world.nodes[at];
    const std::size_t here = world.seen[at].data[stream].size();
    if (at == 0 && asked == here && asked < kRequests) asked += node.write(stream, as_bytes("?"));
    if (at == 1 && answered < here) answered += node.write(stream, as_bytes("!"));
  };
  world.sent = {};
  ASSERT_TRUE(world.run(5s, [&] { return world.seen[0].data[stream].size() == kRequests; }));
  world.run(1s);
  EXPECT_LE(world.sent[0] + world.sent[1], 2 * kRequests + kRequests / 5);
}

TEST(Quic, WhatStreamsHaveNotSentIsBoundedForAllOfThemTogether) {
  QuicWorld world;
  world.establish();
  for (LinkModel& link : world.links) link.loss = 1;
  const Bytes block(2 * kMaxUnsent);
  std::size_t taken = 0, least = block.size();
  while (const auto stream = world.client().open_stream()) {
    const std::size_t size = world.client().write(*stream, block);
    EXPECT_EQ(world.client().writable(*stream), 0u);
    taken += size;
    least = std::min(least, size);
  }
  EXPECT_LE(taken, kMostUnsent);
  EXPECT_GE(least, kMinUnsent);
  for (LinkModel& link : world.links) link.loss = 0;
  ASSERT_TRUE(world.run(60s, [&] { return world.received[1] == taken; }));
  EXPECT_EQ(world.client().writable(0), kMaxUnsent);
}

TEST(Quic, AKeystrokeDoesNotWaitBehindDownloads) {
  LinkModel model{.delay = 10ms, .loss = 0, .bytes_per_second = 1.25e6, .queue_bytes = 32 << 10};
  QuicWorld world(3, model);
  world.establish();
  std::deque<Pump> bulk;
  for (int i = 0; i < 10; ++i)
    bulk.emplace_back(world, 0, world.client().open_stream().value(), pattern(1'000'000));
  world.application = [&](std::size_t at) {
    if (at == 0) std::for_each(bulk.begin(), bulk.end(), [](Pump& pump) { pump.go(); });
  };
  world.run(2s);
  const StreamId keys = world.client().open_stream().value();
  const Instant pressed = world.now;
  world.client().write(keys, as_bytes("a"));
  ASSERT_TRUE(world.run(5s, [&] { return !world.seen[1].data[keys].empty(); }));
  EXPECT_LT(world.now - pressed, 150ms);  // link's queue and one quantum, not ten 256 KiB buffers (2 s)
}

TEST(Quic, TellsThePeerThatItCloses) {
  QuicWorld world;
  world.establish();
  world.client().close(0x42, world.now);
  ASSERT_TRUE(world.run(1s, [&] { return world.seen[1].closed.has_value(); }));
  EXPECT_EQ(world.seen[1].closed->cause, CloseCause::ByPeer);
  EXPECT_EQ(world.seen[1].closed->code, 0x42u);
  EXPECT_EQ(world.seen[0].closed->cause, CloseCause::ByUs);
}

TEST(Quic, LivesThroughHalfAnHourOfSilenceAndNotLonger) {
  QuicWorld world;
  world.establish();
  world.run(29min);
  EXPECT_TRUE(world.client().is_established());
  EXPECT_TRUE(world.server().is_established());
  world.run(2min);
  EXPECT_EQ(world.seen[0].closed->cause, CloseCause::Silence);
  EXPECT_EQ(world.seen[1].closed->cause, CloseCause::Silence);
}

TEST(Quic, IsFoundByTheIndexInItsConnectionIds) {
  QuicWorld world;
  world.configs[0].first_connection_id = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  world.configs[1].first_connection_id = world.configs[0].first_connection_id;
  world.start();
  std::size_t seen = 0;
  for (int i = 0; i < 40; ++i) {
    for (const auto& [when, datagram] : world.wire) {
      EXPECT_TRUE(looks_like_quic(datagram.bytes));
      if (datagram.to != 1) continue;
      EXPECT_EQ(server_index(datagram.bytes), 0x01020304u);
      ++seen;
    }
    world.run(5ms);
    if (world.seen[0].established && i < 20) {
      const auto stream = world.client().open_stream();
      world.client().write(*stream, as_bytes("x"));
    }
  }
  EXPECT_GT(seen, 10u);
}

}  // namespace
}  // namespace dh::quic::test
