#include "derp/server_core.hh"

#include <set>

#include "derp/derp_world.hh"

namespace dh::derp::test {
namespace {

using wire::derp::FrameType;

struct Keys {
  SeededRng rng{99};
  KeyPair a = KeyPair::generate(rng);
  KeyPair b = KeyPair::generate(rng);
  KeyPair c = KeyPair::generate(rng);
};

std::vector<FrameType> types(const std::vector<SeenFrame>& frames) {
  std::vector<FrameType> out;
  for (const auto& frame : frames) out.push_back(frame.type);
  return out;
}

TEST(ServerLogin, SendsServerKeyAtOnceAndServerInfoFirstAfterIt) {
  RawWorld world;
  Keys keys;
  const auto id = world.connect();
  ASSERT_EQ(types(world.frames[id]), std::vector{FrameType::ServerKey});
  EXPECT_EQ(wire::derp::ServerKeyFrame::parse(world.take(id)[0].payload)->key, vector_server().pub);

  world.send(id, world.client_info(keys.a));
  const auto frames = world.take(id);
  ASSERT_EQ(types(frames), std::vector{FrameType::ServerInfo});
  const auto info = open_server_info(frames[0].payload, vector_server().pub, keys.a.secret);
  EXPECT_EQ(info->to_json(), R"({"version":2})");
  EXPECT_EQ(frames[0].payload.size(), 53u);
  EXPECT_EQ(world.server.counters().logins, 1u);
}

TEST(ServerLogin, PutsServerInfoBeforePacketsEvenWhileServerKeyIsStuck) {
  RawWorld world;
  Keys keys;
  const auto b = world.login(keys.b);
  const auto a = world.connect();
  world.take(a);
  world.server.on_disconnect(a, world.now);

  const ConnectionId slow = 77;
  world.stall(slow);
  world.server.on_connect(slow, {}, world.now);
  world.pump();
  world.send(slow, world.client_info(keys.a));
  world.send_packet(b, keys.a.pub, packet_numbered(1));
  world.take(slow);
  world.unstall(slow);
  EXPECT_EQ(types(world.take(slow)), (std::vector{FrameType::ServerInfo, FrameType::RecvPacket}));
}

TEST(ServerLogin, FastPathWorksSplitAtEveryByte) {
  Keys keys;
  RawWorld sizes;
  const std::size_t size = sizes.client_info(keys.a).size() + 13;
  for (std::size_t cut = 0; cut <= size; ++cut) {
    RawWorld world;
    Bytes bytes = world.client_info(keys.a);
    Writer w(bytes);
    wire::derp::PingFrame{}.serialize(w);
    const ConnectionId id = 1;
    world.server.on_connect(id, {}, world.now);
    world.send(id, ByteView(bytes).first(cut));
    world.send(id, ByteView(bytes).subspan(cut));
    ASSERT_EQ(types(world.take(id)),
              (std::vector{FrameType::ServerKey, FrameType::ServerInfo, FrameType::Pong}));
  }
}

TEST(ServerLogin, ClosesOnEveryKindOfBadLogin) {
  Keys keys;
  const auto reason_for = [&](const std::function<Bytes(RawWorld&)>& make) {
    RawWorld world;
    const auto id = world.connect();
    world.send(id, make(world));
    return world.closed.contains(id) ? std::optional(world.closed[id]) : std::nullopt;
  };
  EXPECT_EQ(reason_for([](RawWorld&) { return frame_bytes(wire::derp::PingFrame{}); }),
            CloseReason::BadLogin);
  EXPECT_EQ(reason_for([](RawWorld&) { return hex("0200000037"); }), CloseReason::ProtocolError);
  EXPECT_EQ(reason_for([](RawWorld&) { return hex("0200040001"); }), CloseReason::FrameTooLong);
  EXPECT_EQ(reason_for([](RawWorld&) { return hex("474554202f"); }), CloseReason::BadLogin);  // "GET /"
  EXPECT_EQ(reason_for([&](RawWorld& world) {
              Bytes info = world.client_info(keys.a);
              info.back() ^= std::byte{1};
              return info;
            }),
            CloseReason::BadLogin);
  EXPECT_EQ(reason_for([&](RawWorld& world) {
              Bytes info = world.client_info(keys.a);
              std::fill(info.begin() + 5, info.begin() + 37, std::byte{0});
              return info;
            }),
            CloseReason::BadLogin);
  EXPECT_EQ(reason_for([&](RawWorld& world) { return world.client_info(keys.a); }), std::nullopt);
}

TEST(ServerLogin, TimesOutAfterTenSeconds) {
  RawWorld world;
  Keys keys;
  const auto silent = world.connect();
  const auto in_time = world.connect();
  world.advance(10s - 1ns);
  world.send(in_time, world.client_info(keys.a));
  EXPECT_TRUE(world.closed.empty());
  world.advance(1ns);
  EXPECT_EQ(world.closed[silent], CloseReason::LoginTimeout);
  EXPECT_FALSE(world.closed.contains(in_time));
}

TEST(ServerRouting, DeliversPacketsWithTheirSourceAndToOneself) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.send_packet(a, keys.b.pub, as_bytes("hello"));
  auto frames = world.take(b);
  ASSERT_EQ(types(frames), std::vector{FrameType::RecvPacket});
  EXPECT_EQ(frames[0].key(), keys.a.pub);
  EXPECT_EQ(as_text(frames[0].packet()), "hello");

  world.send_packet(a, keys.a.pub, as_bytes("me"));
  EXPECT_EQ(as_text(world.take(a)[0].packet()), "me");
  EXPECT_EQ(world.server.counters().packets_sent, 2u);
  EXPECT_EQ(world.server.counters().bytes_sent, 7u);
}

TEST(ServerRouting, CarriesTheLargestAndTheEmptyPacketByteForByte) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  Bytes big(wire::derp::kMaxPacketSize);
  world.rng.fill(big);
  world.send_packet(a, keys.b.pub, big);
  world.send_packet(a, keys.b.pub, {});
  const auto frames = world.take(b);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_TRUE(equal_bytes(frames[0].packet(), big));
  EXPECT_TRUE(frames[1].packet().empty());
}

TEST(ServerRouting, CutsTheStreamAnywhere) {
  Keys keys;
  for (std::size_t step : {1u, 2u, 5u, 36u, 37u, 38u, 1000u}) {
    RawWorld world;
    const auto a = world.login(keys.a);
    const auto b = world.login(keys.b);
    Bytes stream;
    Writer w(stream);
    for (int i = 0; i < 20; ++i) wire::derp::SendPacketFrame{keys.b.pub, packet_numbered(i, 90)}.serialize(w);
    for (std::size_t at = 0; at < stream.size(); at += step)
      world.send(a, ByteView(stream).subspan(at, std::min(step, stream.size() - at)));
    const auto numbers = world.take_numbers(b);
    ASSERT_EQ(numbers.size(), 20u);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  }
}

TEST(ServerFrames, AnswersPingsIgnoringWhatFollowsTheirEightBytes) {
  RawWorld world;
  const auto a = world.login(Keys().a);
  world.send(a, hex("120000000a0102030405060708ffff"));
  const auto frames = world.take(a);
  ASSERT_EQ(types(frames), std::vector{FrameType::Pong});
  EXPECT_EQ(to_hex(frames[0].payload), "0102030405060708");
}

TEST(ServerFrames, KeepsOnlyOnePongWaiting) {
  RawWorld world;
  const auto a = world.login(Keys().a);
  Bytes flood;
  for (int i = 0; i < 1000; ++i) {
    Writer w(flood);
    wire::derp::PingFrame{}.serialize(w);
  }
  world.send(a, flood);
  EXPECT_EQ(world.take(a).size(), 1u);
  EXPECT_EQ(world.server.counters().pings, 1000u);
  EXPECT_EQ(world.server.counters().pongs, 1u);
}

TEST(ServerFrames, SkipsUnknownOnesUpToOneMebibyte) {
  RawWorld world;
  const auto a = world.login(Keys().a);
  Bytes unknown = hex("f000100000");
  unknown.resize(5 + (1u << 20));
  world.send(a, unknown);
  world.send(a, hex("130000000801020304050607080b00000000"));  // a Pong, a type without meaning
  world.send_frame(a, wire::derp::PingFrame{});
  EXPECT_EQ(types(world.take(a)), std::vector{FrameType::Pong});
  EXPECT_EQ(world.server.counters().unknown_frames, 3u);
  world.send(a, hex("f000100001"));
  EXPECT_EQ(world.closed[a], CloseReason::FrameTooLong);
}

TEST(ServerFrames, ClosesOnLengthsTheProtocolForbids) {
  const std::pair<const char*, CloseReason> cases[] = {
      {"040000001f", CloseReason::ProtocolError}, {"0400010021", CloseReason::FrameTooLong},
      {"1200000007", CloseReason::ProtocolError}, {"12000003e9", CloseReason::FrameTooLong},
      {"0700000000", CloseReason::ProtocolError}, {"0700000002", CloseReason::FrameTooLong},
      {"1000000000", CloseReason::NotAuthorised}, {"1100000020", CloseReason::NotAuthorised},
      {"0a00000040", CloseReason::NotAuthorised},
  };
  for (const auto& [header, reason] : cases) {
    RawWorld world;
    const auto a = world.login(Keys().a);
    world.send(a, hex(header));
    ASSERT_TRUE(world.closed.contains(a)) << header;
    EXPECT_EQ(world.closed[a], reason) << header;
    world.send_frame(a, wire::derp::PingFrame{});  // ignored
    EXPECT_TRUE(world.take(a).empty());
    world.disconnect(a);
  }
}

TEST(ServerPeerGone, PacesNotHereToThreeAndOnePerSecondForDiscoOnly) {
  RawWorld world;
  const auto a = world.login(Keys().a);
  const PublicKey nobody = key_filled_with(0x33);
  world.send_packet(a, nobody, packet_numbered(1));
  EXPECT_TRUE(world.take(a).empty());

  world.send_packet(a, nobody, disco_packet());
  auto frames = world.take(a);
  ASSERT_EQ(types(frames), std::vector{FrameType::PeerGone});
  EXPECT_EQ(frames[0].key(), nobody);
  EXPECT_EQ(frames[0].payload[32], std::byte{1});
  for (int i = 0; i < 5; ++i) world.send_packet(a, nobody, disco_packet());
  EXPECT_EQ(world.take(a).size(), 2u);
  world.advance(1s - 1ns);
  world.send_packet(a, nobody, disco_packet());
  EXPECT_EQ(world.take(a).size(), 0u);
  world.advance(1ns);
  world.send_packet(a, nobody, disco_packet());
  world.send_packet(a, nobody, disco_packet());
  EXPECT_EQ(world.take(a).size(), 1u);
  EXPECT_EQ(world.server.counters().dropped_unknown_dest, 10u);
  EXPECT_EQ(world.server.counters().peer_gone_not_here, 4u);
}

TEST(ServerPeerGone, TellsReceiversThatAPeerLeftEachTimeItDoes) {
  RawWorld world;
  Keys keys;
  const auto b = world.login(keys.b);
  const auto c = world.login(keys.c);
  for (int round = 0; round < 2; ++round) {
    const auto a = world.login(keys.a);
    world.send_packet(a, keys.b.pub, packet_numbered(1));
    world.send_packet(a, keys.b.pub, packet_numbered(2));
    world.take(b);
    world.disconnect(a);
    const auto frames = world.take(b);
    ASSERT_EQ(types(frames), std::vector{FrameType::PeerGone});
    EXPECT_EQ(frames[0].key(), keys.a.pub);
    EXPECT_EQ(frames[0].payload[32], std::byte{0});
    EXPECT_TRUE(world.take(c).empty());
  }
}

TEST(ServerPeerGone, WaitsForTheLastConnectionOfAKey) {
  RawWorld world;
  Keys keys;
  const auto b = world.login(keys.b);
  const auto a1 = world.login(keys.a);
  world.send_packet(a1, keys.b.pub, packet_numbered(1));
  const auto a2 = world.login(keys.a);
  world.take(b);
  world.disconnect(a1);
  EXPECT_TRUE(world.take(b).empty());
  world.disconnect(a2);
  EXPECT_EQ(types(world.take(b)), std::vector{FrameType::PeerGone});
}

TEST(ServerDuplicates, LastWriterReceives) {
  RawWorld world;
  Keys keys;
  const auto b = world.login(keys.b);
  const auto receiver = [&](std::initializer_list<ConnectionId> ids) {
    world.send_packet(b, keys.a.pub, packet_numbered(1));
    ConnectionId got = 0;
    for (const auto id : ids) {
      if (!world.take_numbers(id).empty()) {
        EXPECT_EQ(got, 0u);
        got = id;
      }
    }
    return got;
  };
  const auto c1 = world.login(keys.a);
  EXPECT_EQ(receiver({c1}), c1);
  const auto c2 = world.login(keys.a);
  EXPECT_EQ(receiver({c1, c2}), c2);  // the newest at once
  EXPECT_EQ(world.server.counters().duplicate_keys, 1u);
  world.send(c1, hex("0b00000000"));  // any frame will do
  EXPECT_EQ(receiver({c1, c2}), c1);
  world.send_frame(c2, wire::derp::PingFrame{});
  EXPECT_EQ(receiver({c1, c2}), c2);
  world.disconnect(c2);
  EXPECT_EQ(receiver({c1}), c1);
  EXPECT_EQ(world.server.counters().duplicate_keys, 0u);
  EXPECT_TRUE(world.closed.empty());
}

TEST(ServerDuplicates, OlderOneLeavingChangesNothing) {
  RawWorld world;
  Keys keys;
  const auto b = world.login(keys.b);
  const auto c1 = world.login(keys.a);
  const auto c2 = world.login(keys.a);
  world.disconnect(c1);
  world.send_packet(b, keys.a.pub, packet_numbered(1));
  EXPECT_EQ(world.take_numbers(c2).size(), 1u);
}

TEST(ServerQueues, ThirtyThirdWaitingPacketDropsTheOldest) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.stall(b);
  for (int i = 0; i <= 33; ++i) world.send_packet(a, keys.b.pub, packet_numbered(i));  // 0 is in flight
  EXPECT_EQ(world.take_numbers(b), std::vector{0});
  EXPECT_EQ(world.server.counters().dropped_queue_head, 1u);
  world.unstall(b);
  const auto numbers = world.take_numbers(b);
  ASSERT_EQ(numbers.size(), 32u);
  EXPECT_EQ(numbers.front(), 2);
  EXPECT_EQ(numbers.back(), 33);
}

TEST(ServerQueues, DiscoHasRoomOfItsOwnAndAFairShare) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.stall(b);
  world.send_packet(a, keys.b.pub, packet_numbered(0));
  for (int i = 0; i < 40; ++i) world.send_packet(a, keys.b.pub, packet_numbered(i));
  for (int i = 0; i < 5; ++i) world.send_packet(a, keys.b.pub, disco_packet());
  world.send_packet(a, key_filled_with(9), disco_packet());
  world.take(b);
  world.unstall(b);
  const auto frames = world.take(b);
  ASSERT_EQ(frames.size(), 37u);
  for (std::size_t i = 0; i < 10; ++i)
    EXPECT_EQ(wire::derp::looks_like_disco(frames[i].packet()), i % 2 == 0) << i;
}

TEST(ServerQueues, ControlGoesBeforePackets) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.stall(b);
  world.send_packet(a, keys.b.pub, packet_numbered(0));
  world.send_packet(a, keys.b.pub, packet_numbered(1));
  world.send_frame(b, wire::derp::PingFrame{});
  world.take(b);
  world.unstall(b);
  EXPECT_EQ(types(world.take(b)), (std::vector{FrameType::Pong, FrameType::RecvPacket}));
}

TEST(ServerQueues, FillsBatchesOfAboutSixtyFourKibibytes) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  Bytes stream;
  Writer w(stream);
  for (int i = 0; i < 60; ++i) wire::derp::SendPacketFrame{keys.b.pub, packet_numbered(i, 1400)}.serialize(w);
  world.batches.clear();
  world.send(a, stream);
  EXPECT_EQ(world.take_numbers(b).size(), 60u);  // 45 staged, 15 queued behind them
  ASSERT_EQ(world.batches.size(), 2u);
  EXPECT_LE(world.batches[0], 64u << 10);
  EXPECT_GT(world.batches[0], 63u << 10);
}

TEST(ServerDeadlines, CutsAStalledReaderAfterTwoSecondsWithoutProgress) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.stall(b);
  world.send_packet(a, keys.b.pub, packet_numbered(0));
  world.send_packet(a, keys.b.pub, packet_numbered(1));
  world.advance(1500ms);
  world.server.on_write_progress(b, world.now);
  world.advance(2s - 1ns);
  EXPECT_TRUE(world.closed.empty());
  world.advance(1ns);
  EXPECT_EQ(world.closed[b], CloseReason::WriteTimeout);
  EXPECT_EQ(world.server.counters().write_timeouts, 1u);
  EXPECT_EQ(world.server.counters().dropped_gone, 1u);
  world.take(a);
  world.disconnect(b);
  EXPECT_EQ(types(world.take(a)), std::vector<FrameType>{});
}

TEST(ServerDeadlines, LeavesAnIdleReaderAlone) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  world.login(keys.b);
  world.send_packet(a, keys.b.pub, packet_numbered(0));
  world.advance(50s);
  EXPECT_TRUE(world.closed.empty());
}

TEST(ServerDeadlines, SendsKeepAliveEverySixtyToSixtyFiveSeconds) {
  RawWorld world;
  std::set<Duration> periods;
  SeededRng keys(5);
  for (int i = 0; i < 20; ++i) {
    const auto a = world.login(KeyPair::generate(keys));
    const Instant start = world.now;
    for (int round = 1; round <= 2; ++round) {
      while (world.frames[a].empty()) world.advance(*world.server.next_timeout() - world.now);
      EXPECT_EQ(types(world.take(a)), std::vector{FrameType::KeepAlive});
      const Duration period = (world.now - start) / round;
      EXPECT_GE(period, 60s);
      EXPECT_LT(period, 65s);
      periods.insert(period);
    }
    world.disconnect(a);
  }
  EXPECT_GE(periods.size(), 15u);  // not in step with each other
}

TEST(ServerLimiter, PausesReadingUntilTheNextFrameIsPaid) {
  ServerConfig config;
  config.client_rate_bytes = 65568;
  RawWorld world(config);
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  const Bytes big(wire::derp::kMaxPacketSize);
  world.send_packet(a, keys.b.pub, big);
  EXPECT_FALSE(world.paused[a]);
  EXPECT_EQ(world.take(b).size(), 1u);
  world.send_packet(a, keys.b.pub, big);
  EXPECT_TRUE(world.paused[a]);
  EXPECT_TRUE(world.take(b).empty());
  world.advance(1s - 1ns);
  EXPECT_TRUE(world.paused[a]);
  world.advance(1ns);
  EXPECT_FALSE(world.paused[a]);
  EXPECT_EQ(world.take(b).size(), 1u);
  EXPECT_EQ(world.server.counters().rate_pauses, 1u);
}

TEST(ServerLimiter, WorksOffWhatWasReadWhilePausedInOrder) {
  ServerConfig config;
  config.client_rate_bytes = 1000;
  RawWorld world(config);
  Keys keys;
  const auto a = world.login(keys.a);
  const auto b = world.login(keys.b);
  world.send_packet(a, keys.b.pub, Bytes(65000));
  world.take(b);
  Bytes stream;
  Writer w(stream);
  for (int i = 0; i < 10; ++i) wire::derp::SendPacketFrame{keys.b.pub, packet_numbered(i, 468)}.serialize(w);
  world.send(a, stream);  // 536 tokens are left: one frame of 500
  EXPECT_EQ(world.take_numbers(b), std::vector{0});
  std::vector<int> numbers;
  for (int second = 0; second < 5 && world.paused[a]; ++second) {
    world.advance(1s);
    for (int number : world.take_numbers(b)) numbers.push_back(number);
    EXPECT_LE(numbers.size(), static_cast<std::size_t>(2 * second + 2));
  }
  EXPECT_EQ(numbers, (std::vector{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_FALSE(world.paused[a]);
}

TEST(ServerRestart, TellsEveryClient) {
  RawWorld world;
  Keys keys;
  const auto a = world.login(keys.a);
  const auto stranger = world.connect();
  world.take(stranger);
  world.server.announce_restart(1500ms, 10s, world.now);
  world.pump();
  const auto frames = world.take(a);
  ASSERT_EQ(types(frames), std::vector{FrameType::Restarting});
  EXPECT_EQ(to_hex(frames[0].payload), "000005dc00002710");
  EXPECT_TRUE(world.take(stranger).empty());
}

TEST(ServerCore, SurvivesInputsForConnectionsItDoesNotKnow) {
  RawWorld world;
  Bytes batch;
  world.server.on_bytes(9, hex("00"), world.now);
  world.server.on_written(9, world.now);
  world.server.on_write_progress(9, world.now);
  world.server.on_disconnect(9, world.now);
  EXPECT_FALSE(world.server.take_output(9, batch, world.now));
  EXPECT_FALSE(world.server.poll_ready());
}

TEST(ServerCore, ForgetsTheTimersOfThousandsOfShortConnections) {
  RawWorld world;
  for (int i = 0; i < 5000; ++i) world.disconnect(world.connect());
  EXPECT_EQ(world.server.counters().accepts, 5000u);
  EXPECT_EQ(world.server.counters().current_connections, 0u);
  world.advance(1h);
  EXPECT_FALSE(world.server.next_timeout());
}

}  // namespace
}  // namespace dh::derp::test
