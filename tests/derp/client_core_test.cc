#include "derp/client_core.hh"

#include "derp/derp_world.hh"

namespace dh::derp::test {
namespace {

using wire::derp::FrameType;

// A client core and a relay written by hand.
struct Client : ::testing::Test {
  ClientConfig config;
  SeededRng rng{3};
  Instant now = Instant(1000s);
  KeyPair relay = vector_server();
  std::optional<ClientCore> core;

  void start() {
    config.key = vector_client();
    core.emplace(config, now, rng);
  }
  void start_logged_in(ServerLogin login = {.version = 2}) {
    config.server_key = relay.pub;
    start();
    feed(server_info(login));
    EXPECT_TRUE(std::holds_alternative<LoggedIn>(core->poll_event().value()));
    core->consume_output(core->output().size());
  }
  Bytes server_info(ServerLogin login = {.version = 2}) {
    Bytes out;
    EXPECT_TRUE(append_server_info(out, login, relay, vector_client().pub, rng));
    return out;
  }
  void feed(ByteView bytes) { core->on_bytes(bytes, now); }
  void advance(Duration by) {
    now += by;
    core->on_timeout(now);
  }
  std::optional<ClientError> death() {
    const auto event = core->poll_event();
    if (!event) return std::nullopt;
    EXPECT_TRUE(std::holds_alternative<ConnectionDead>(*event));
    EXPECT_FALSE(core->poll_event());
    EXPECT_EQ(core->send_packet(relay.pub, {}, now), SendResult::Dead);
    EXPECT_FALSE(core->next_timeout());
    return std::get<ConnectionDead>(*event).error;
  }
  std::vector<SeenFrame> written() {
    wire::derp::FrameReader reader;
    reader.append(core->output());
    core->consume_output(core->output().size());
    std::vector<SeenFrame> frames;
    while (auto frame = reader.next()) frames.push_back({frame->type, to_bytes(frame->payload)});
    return frames;
  }
};

TEST_F(Client, SaysNothingBeforeServerKey) {
  start();
  EXPECT_TRUE(core->output().empty());
  EXPECT_FALSE(core->can_send());
  EXPECT_EQ(core->send_packet(relay.pub, {}, now), SendResult::Dead);
}

TEST_F(Client, AnswersServerKeyWithClientInfoAndItsHome) {
  start();
  feed(frame_bytes(wire::derp::ServerKeyFrame{relay.pub}));
  EXPECT_FALSE(core->poll_event());
  EXPECT_TRUE(core->can_send());
  const auto frames = written();
  ASSERT_EQ(frames.size(), 2u);
  const auto info = wire::derp::ClientInfoFrame::parse(frames[0].payload).value();
  const auto login = open_client_info(info.sealed, info.key, relay.secret).value();
  EXPECT_EQ(login.to_json(), R"({"version":2,"CanAckPings":true,"AppName":"derphole"})");
  EXPECT_EQ(frames[1].type, FrameType::NotePreferred);
  feed(server_info());
  EXPECT_EQ(std::get<LoggedIn>(core->poll_event().value()).server_key, relay.pub);
}

TEST_F(Client, FastStartSpeaksFirstAndSkipsTheLateServerKey) {
  config.server_key = relay.pub;
  config.home = false;
  start();
  EXPECT_EQ(written().size(), 1u);
  EXPECT_EQ(core->send_packet(key_filled_with(1), as_bytes("x"), now), SendResult::Queued);
  feed(frame_bytes(wire::derp::ServerKeyFrame{relay.pub}));
  EXPECT_FALSE(core->poll_event());
  feed(server_info());
  EXPECT_TRUE(std::holds_alternative<LoggedIn>(core->poll_event().value()));
  EXPECT_EQ(core->counters().unknown_frames, 1u);
}

TEST_F(Client, RecognisesWhatIsNotARelay) {
  for (const char* answer : {"HTTP/1.1 404 Not Found\r\n", "<html>", "SSH-2.0-OpenSSH"}) {
    config.server_key.reset();
    start();
    feed(as_bytes(answer));
    EXPECT_EQ(death(), ClientError::NotDerp) << answer;
    config.server_key = relay.pub;
    start();
    feed(as_bytes(answer));
    EXPECT_EQ(death(), ClientError::NotDerp) << answer;
  }
  config.server_key.reset();
  start();
  feed(hex("0600000000"));  // a frame, but not ServerKey
  EXPECT_EQ(death(), ClientError::NotDerp);
}

TEST_F(Client, CallsEofBeforeServerInfoARejection) {
  start();
  feed(frame_bytes(wire::derp::ServerKeyFrame{relay.pub}));
  core->on_eof(now);
  EXPECT_EQ(death(), ClientError::Rejected);
}

TEST_F(Client, DeliversWhatCameBeforeEof) {
  start_logged_in();
  feed(frame_bytes(wire::derp::RecvPacketFrame{key_filled_with(2), as_bytes("last")}));
  core->on_eof(now);
  EXPECT_EQ(as_text(std::get<PacketReceived>(core->poll_event().value()).bytes), "last");
  EXPECT_EQ(death(), ClientError::Eof);
}

TEST_F(Client, GivesUpOnAServerInfoThatDoesNotOpen) {
  config.server_key = relay.pub;
  start();
  Bytes info = server_info();
  info.back() ^= std::byte{1};
  feed(info);
  EXPECT_EQ(death(), ClientError::BadServerInfo);
}

TEST_F(Client, GivesUpOnFramesBeyondOneMebibyte) {
  start_logged_in();
  feed(hex("0500100001"));
  EXPECT_EQ(death(), ClientError::FrameTooLong);
}

TEST_F(Client, LoginTimesOutAfterTenSeconds) {
  start();
  EXPECT_EQ(core->next_timeout(), now + 10s);
  advance(10s - 1ns);
  EXPECT_FALSE(core->poll_event());
  advance(1ns);
  EXPECT_EQ(death(), ClientError::LoginTimeout);
}

TEST_F(Client, ReportsEveryEventOfTheCatalogue) {
  start_logged_in();
  feed(frame_bytes(wire::derp::RecvPacketFrame{key_filled_with(2), as_bytes("hi")}));
  feed(frame_bytes(wire::derp::PeerGoneFrame{key_filled_with(3), 1}));
  feed(hex("0800000020" + key_filled_with(4).to_hex()));
  feed(hex("1400000003424144"));
  feed(hex("15000000080000000100000002"));
  feed(hex("0600000000"));
  feed(hex("1600000001ff"));
  feed(hex("0500000003010203"));
  const auto packet = std::get<PacketReceived>(core->poll_event().value());
  EXPECT_EQ(packet.from, key_filled_with(2));
  EXPECT_EQ(as_text(packet.bytes), "hi");
  EXPECT_EQ(std::get<PeerGone>(core->poll_event().value()).reason, PeerGoneReason::NotHere);
  EXPECT_EQ(std::get<PeerGone>(core->poll_event().value()).reason, PeerGoneReason::Disconnected);
  EXPECT_EQ(std::get<Health>(core->poll_event().value()).problem, "BAD");
  EXPECT_EQ(std::get<Restarting>(core->poll_event().value()).try_for, 2ms);
  EXPECT_FALSE(core->poll_event());
  EXPECT_EQ(core->counters().unknown_frames, 1u);
  EXPECT_EQ(core->counters().short_frames, 1u);
}

TEST_F(Client, HandsPacketsOutWithoutCopyingThem) {
  start_logged_in();
  const Bytes frame = frame_bytes(wire::derp::RecvPacketFrame{key_filled_with(2), as_bytes("zero copies")});
  const ByteSpan space = core->input_space();
  std::memcpy(space.data(), frame.data(), frame.size());
  core->on_input(frame.size(), now);
  EXPECT_EQ(std::get<PacketReceived>(core->poll_event().value()).bytes.data(), space.data() + 37);
}

TEST_F(Client, AnswersPingsOneAtATime) {
  start_logged_in();
  for (int i = 0; i < 100; ++i) feed(hex("12000000080102030405060708"));
  EXPECT_FALSE(core->poll_event());
  EXPECT_EQ(to_hex(core->output()), "13000000080102030405060708");
  core->consume_output(13);
  feed(hex("12000000080000000000000009"));
  EXPECT_FALSE(core->poll_event());
  EXPECT_EQ(to_hex(core->output()), "13000000080000000000000009");
}

TEST_F(Client, MeasuresItsOwnPings) {
  start_logged_in();
  advance(5s);
  const auto frames = written();
  ASSERT_EQ(frames.size(), 1u);
  now += 20ms;
  feed(frame_bytes(wire::derp::PongFrame{array_from_hex<8>(to_hex(frames[0].payload)).value()}));
  EXPECT_EQ(std::get<PongReceived>(core->poll_event().value()).rtt, 20ms);
  feed(frame_bytes(wire::derp::PongFrame{}));  // not ours
  EXPECT_FALSE(core->poll_event());
  EXPECT_EQ(core->counters().unknown_frames, 1u);
}

TEST_F(Client, DiesAfterTwoUnansweredPings) {
  start_logged_in();
  advance(5s);
  advance(5s);
  EXPECT_EQ(written().size(), 2u);
  advance(5s - 1ns);
  EXPECT_FALSE(core->poll_event());
  advance(1ns);
  EXPECT_EQ(death(), ClientError::Silent);
}

TEST_F(Client, TakesAnythingTheRelaySaysForLife) {
  start_logged_in();
  for (int i = 0; i < 20; ++i) {
    advance(5s);
    feed(hex("0600000000"));
    EXPECT_FALSE(core->poll_event());
  }
}

TEST_F(Client, DiesOfSilenceAfterTwoMinutesWithoutPings) {
  config.ping_interval = Duration::zero();
  start_logged_in();
  EXPECT_EQ(core->next_timeout(), now + 120s);
  advance(120s - 1ns);
  EXPECT_FALSE(core->poll_event());
  advance(1ns);
  EXPECT_EQ(death(), ClientError::Silent);
}

TEST_F(Client, KeepsToTheBucketTheRelayAnnounced) {
  start_logged_in({2, 1, 2 * 1037});  // two frames of 1000 bytes at once, then one byte a second
  int queued = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto result = core->send_packet(relay.pub, Bytes(1000), now);
    if (result == SendResult::Queued)
      ++queued;
    else
      EXPECT_EQ(result, SendResult::RateLimited);
  }
  EXPECT_EQ(queued, 2);
  EXPECT_EQ(core->counters().rate_limited, 998u);
  EXPECT_EQ(written().size(), 2u);
}

TEST_F(Client, RefusesPacketsThatAreTooLong) {
  start_logged_in();
  EXPECT_EQ(core->send_packet(relay.pub, Bytes(65537), now), SendResult::TooLong);
  EXPECT_TRUE(core->output().empty());
  EXPECT_EQ(core->send_packet(relay.pub, Bytes(65536), now), SendResult::Queued);
}

TEST_F(Client, NotesItsHomeOnlyOnChange) {
  start_logged_in();
  core->note_preferred(true);
  EXPECT_TRUE(core->output().empty());
  core->note_preferred(false);
  EXPECT_EQ(to_hex(core->output()), "070000000100");
}

TEST_F(Client, OutputMayBeTakenWholeOrInParts) {
  start_logged_in();
  core->note_preferred(false);
  core->consume_output(2);
  Bytes batch = hex("ffff");
  EXPECT_TRUE(core->take_output(batch));
  EXPECT_EQ(to_hex(batch), "00000100");
  EXPECT_FALSE(core->take_output(batch));
  EXPECT_TRUE(batch.empty());
}

TEST(TokenBucket, GivesExactlyItsRateAfterItsBurst) {
  Instant now{};
  TokenBucket bucket(3, 10, now);
  EXPECT_TRUE(bucket.take(10, now));
  EXPECT_FALSE(bucket.take(1, now));
  const Duration wait = bucket.wait_for(1, now);
  EXPECT_FALSE(bucket.take(1, now + wait - 1ns));
  EXPECT_TRUE(bucket.take(1, now + wait));
  EXPECT_EQ(bucket.wait_for(11, now + wait), Duration::max());
  EXPECT_TRUE(bucket.take(10, now + 24h * 365 * 100));
}

TEST(TokenBucket, TakesHostileRates) {
  Instant now{};
  TokenBucket huge(UINT64_MAX, UINT64_MAX, now);
  EXPECT_TRUE(huge.take(1u << 30, now));
  EXPECT_TRUE(huge.take(TokenBucket::kMax, now + 1s));
  TokenBucket none(0, 0, now);
  EXPECT_FALSE(none.take(1, now + 1h));
  EXPECT_EQ(none.wait_for(1, now), Duration::max());
}

}  // namespace
}  // namespace dh::derp::test
