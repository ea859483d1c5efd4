#include "io/derp_server.hh"

#include "io/relay_world.hh"

namespace dh::io {
namespace {

using Peer = DerpPeer<PlainTransport>;

TEST(DerpServer, LogsInThroughTheUpgradeAndCarriesPackets) {
  RelayWorld world;
  PlainTransport a_stream(world.endpoint()), b_stream(world.endpoint());
  EXPECT_TRUE(a_stream.head.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << a_stream.head;
  EXPECT_NE(a_stream.head.find("Upgrade: DERP\r\nConnection: Upgrade\r\nDerp-Version: 2\r\n"),
            std::string::npos);
  EXPECT_NE(a_stream.head.find("Derp-Public-Key: " + world.server().public_key().to_hex()),
            std::string::npos);
  Peer a(a_stream), b(b_stream);
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());

  ASSERT_TRUE(a.send(b.key(), as_bytes("over the relay")));
  const auto packet = b.wait<derp::PacketReceived>();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->from, a.key());
  EXPECT_EQ(as_text(b.payload), "over the relay");

  Bytes large(65'536, std::byte{7});
  ASSERT_TRUE(b.send(a.key(), large));
  ASSERT_TRUE(a.wait<derp::PacketReceived>());
  EXPECT_EQ(a.payload, large);
  EXPECT_EQ(world.core().packets_sent, 2u);
}

TEST(DerpServer, TakesTheLoginThatRidesWithAFastStart) {
  RelayWorld world;
  RawClient raw(world.endpoint());
  DerpPeer<RawClient> peer(raw, world.server().public_key());
  Bytes together = to_bytes(as_bytes(kFastStartRequest));
  const Bytes login = peer.take_output();
  ASSERT_FALSE(login.empty());
  together.insert(together.end(), login.begin(), login.end());
  raw.send(ByteView(together));
  EXPECT_TRUE(peer.login());
  EXPECT_EQ(world.shell().fast_starts, 1u);
}

TEST(DerpServer, TakesAFastStartCutAnywhere) {
  RelayWorld world;
  for (const std::size_t from_end : {1u, 50u, 104u, 105u, 106u, 108u, 109u, 112u, 130u}) {
    RawClient raw(world.endpoint());
    DerpPeer<RawClient> peer(raw, world.server().public_key());
    Bytes together = to_bytes(as_bytes(kFastStartRequest));
    const Bytes login = peer.take_output();
    together.insert(together.end(), login.begin(), login.end());
    const std::size_t cut = together.size() - from_end;
    const auto before = world.core().logins;
    raw.send(ByteView(together).first(cut));
    world.on([] {});  // the two halves are very likely two reads
    raw.send(ByteView(together).subspan(cut));
    EXPECT_TRUE(peer.login()) << from_end;
    EXPECT_EQ(world.core().logins, before + 1);
  }
}

TEST(DerpServer, ReadsARequestThatComesByteByByte) {
  RelayWorld world;
  RawClient raw(world.endpoint());
  for (const char c : kUpgradeRequest) raw.send(std::string_view(&c, 1));
  EXPECT_TRUE(raw.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
}

TEST(DerpServer, SpeaksBareDerpWithOldClientsThatSayWebSocket) {
  RelayWorld world;
  RawClient raw(world.endpoint());
  raw.send("GET /derp HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n");
  EXPECT_TRUE(raw.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(to_hex(as_bytes(raw.read_size(13))),
            "01000000284445525"
            "0f09f9491");
}

TEST(DerpServer, ClosesAConnectionWhoseLoginIsNonsense) {
  RelayWorld world;
  PlainTransport raw(world.endpoint());
  raw.send(
      std::string_view("\x04\x00\x00\x00\x20"
                       "12345678901234567890123456789012",
                       37));
  raw.read_to_end();
  EXPECT_TRUE(world.eventually([&] { return world.server().shell_counters().current_tcp == 0; }));
  EXPECT_EQ(world.core().current_connections, 0u);
}

TEST(DerpServer, TellsThoseWhoHeardFromAPeerThatItLeft) {
  RelayWorld world;
  PlainTransport b_stream(world.endpoint());
  Peer b(b_stream);
  ASSERT_TRUE(b.login());
  PublicKey a_key;
  {
    PlainTransport a_stream(world.endpoint());
    Peer a(a_stream);
    ASSERT_TRUE(a.login());
    a_key = a.key();
    ASSERT_TRUE(a.send(b.key(), as_bytes("hello")));
    ASSERT_TRUE(b.wait<derp::PacketReceived>());
  }
  const auto gone = b.wait<derp::PeerGone>();
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->peer, a_key);
}

TEST(DerpServer, CarriesABurstWithoutDroppingWhatTheReaderTakes) {
  // One read of the server holds far more packets than a destination's queue of 32.
  RelayWorld world;
  PlainTransport a_stream(world.endpoint()), b_stream(world.endpoint());
  Peer a(a_stream), b(b_stream);
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());
  Bytes burst;
  constexpr std::size_t kPackets = 700;
  for (std::size_t i = 0; i < kPackets; ++i) {
    const ByteArray<48> packet{};
    ASSERT_EQ(a.core().send_packet(b.key(), packet, now()), derp::SendResult::Queued);
    const Bytes frame = a.take_output();
    burst.insert(burst.end(), frame.begin(), frame.end());
  }
  a_stream.send(ByteView(burst));
  for (std::size_t i = 0; i < kPackets; ++i) ASSERT_TRUE(b.wait<derp::PacketReceived>()) << i;
  EXPECT_EQ(world.core().dropped_queue_head, 0u);
}

TEST(DerpServer, CutsOffAClientThatStopsReading) {
  DerpServerOptions options = loopback_options();
  options.core.write_deadline = 50ms;
  options.socket_send_bytes = 16u << 10;
  RelayWorld world(std::move(options));
  PlainTransport sender_stream(world.endpoint()), sleeper_stream(world.endpoint());
  sleeper_stream.socket().set_option(tcp::socket::receive_buffer_size(4096));
  Peer sender(sender_stream), sleeper(sleeper_stream);
  ASSERT_TRUE(sender.login());
  ASSERT_TRUE(sleeper.login());
  const Bytes packet(32u << 10, std::byte{1});
  while (world.core().write_timeouts == 0) ASSERT_TRUE(sender.send(sleeper.key(), packet));
  EXPECT_EQ(world.core().write_timeouts, 1u);
  EXPECT_TRUE(world.eventually([&] { return world.server().shell_counters().current_tcp == 1; }));
}

TEST(DerpServer, HoldsAFastClientBackWithoutDropping) {
  DerpServerOptions options = loopback_options();
  options.core.client_rate_bytes = 4'000'000;
  RelayWorld world(std::move(options));
  PlainTransport a_stream(world.endpoint()), b_stream(world.endpoint());
  Peer a(a_stream), b(b_stream);
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());
  const Bytes packet(30'000, std::byte{1});
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(a.send(b.key(), packet));
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(b.wait<derp::PacketReceived>());
  EXPECT_GE(world.core().rate_pauses, 1u);
}

TEST(DerpServer, AnnouncesARestartToEveryoneAndThenEndsTheirStreams) {
  RelayWorld world;
  PlainTransport a_stream(world.endpoint()), b_stream(world.endpoint());
  Peer a(a_stream), b(b_stream);
  ASSERT_TRUE(a.login());
  ASSERT_TRUE(b.login());
  std::promise<void> done;
  world.on([&] {
    asio::co_spawn(world.context(), world.server().drain(250ms, 4s),
                   [&](std::exception_ptr) { done.set_value(); });
  });
  for (Peer* peer : {&a, &b}) {
    const auto restarting = peer->wait<derp::Restarting>();
    ASSERT_TRUE(restarting);
    EXPECT_EQ(restarting->reconnect_in, 250ms);
    EXPECT_EQ(restarting->try_for, 4s);
    EXPECT_FALSE(peer->wait<derp::LoggedIn>());  // end of stream
  }
  a_stream.socket().close();
  b_stream.socket().close();
  done.get_future().wait();
  EXPECT_THROW(RawClient again(world.endpoint()), boost::system::system_error);
}

TEST(DerpServer, EndsADrainAtItsDeadlineWhenClientsStay) {
  RelayWorld world;
  PlainTransport stream(world.endpoint());
  Peer peer(stream);
  ASSERT_TRUE(peer.login());
  std::promise<void> done;
  world.on([&] {
    asio::co_spawn(world.context(), world.server().drain(0s, 1s, 20ms),
                   [&](std::exception_ptr) { done.set_value(); });
  });
  done.get_future().wait();
  EXPECT_EQ(world.shell().current_tcp, 0u);
}

TEST(DerpServer, SaysWhichPortIsTaken) {
  RelayWorld world;
  asio::io_context context;
  SystemRng rng;
  DerpServerOptions options = loopback_options();
  options.listen.push_back(world.endpoint());
  DerpServer second(context.get_executor(), options, rng);
  try {
    second.start();
    FAIL() << "two servers on one port";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()),
              "TCP port " + world.endpoint().to_string() + " is already in use by another program");
  }
}

TEST(DerpServer, RefusesPlainHttpBeyondLoopback) {
  asio::io_context context;
  SystemRng rng;
  DerpServerOptions options = loopback_options();
  options.listen.push_back({IpAddress(), 0});
  DerpServer server(context.get_executor(), options, rng);
  EXPECT_THROW(server.start(), std::runtime_error);
}

TEST(DerpServer, ListensOnBothFamiliesAtOnce) {
  DerpServerOptions options = loopback_options();
  options.listen.push_back({*IpAddress::parse("::1"), 0});
  try {
    RelayWorld world(std::move(options));
    for (const Endpoint& endpoint : world.server().endpoints()) {
      PlainTransport stream(endpoint);
      Peer peer(stream);
      EXPECT_TRUE(peer.login()) << endpoint.to_string();
    }
  } catch (const std::runtime_error& error) {
    GTEST_SKIP() << "no IPv6 loopback here: " << error.what();
  }
}

}  // namespace
}  // namespace dh::io
