#include "derp/derp_world.hh"

namespace dh::derp::test {
namespace {

// Client cores and a server core, wired in memory; every stream is delivered `step` bytes at a time.
struct Region {
  explicit Region(std::size_t step) : step_(step), server_({}, vector_server(), now, rng) {}

  ClientCore& add(const KeyPair& key, bool fast_start) {
    ClientConfig config;
    config.key = key;
    if (fast_start) config.server_key = vector_server().pub;
    const ConnectionId id = clients_.size() + 1;
    clients_.push_back(std::make_unique<ClientCore>(config, now, rng));
    events.emplace_back();
    packets.emplace_back();
    server_.on_connect(id, {}, now);
    run();
    return *clients_.back();
  }

  void run() {
    for (bool busy = true; busy;) {
      busy = false;
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        Bytes up;
        if (clients_[i]->take_output(up)) busy = true;
        in_steps(up, [&](ByteView part) { server_.on_bytes(i + 1, part, now); });
      }
      while (auto id = server_.poll_ready()) {
        Bytes down;
        if (!server_.take_output(*id, down, now)) continue;
        busy = true;
        in_steps(down, [&](ByteView part) {
          clients_[*id - 1]->on_bytes(part, now);
          drain(*id - 1);
        });
        server_.on_written(*id, now);
        server_.recycle(std::move(down));
      }
    }
  }

  void advance(Duration by) {
    now += by;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      clients_[i]->on_timeout(now);
      drain(i);
    }
    server_.on_timeout(now);
    run();
  }

  Instant now = Instant(5000s);
  SeededRng rng{8};
  std::vector<std::vector<ClientEvent>> events;  // all but packets
  std::vector<std::vector<std::string>> packets;

private:
  template <typename Deliver>
  void in_steps(ByteView bytes, Deliver deliver) {
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(step_, bytes.size())))
      deliver(bytes.first(std::min(step_, bytes.size())));
  }
  void drain(std::size_t i) {
    while (auto event = clients_[i]->poll_event()) {
      if (const auto* packet = std::get_if<PacketReceived>(&*event))
        packets[i].emplace_back(as_text(packet->bytes));
      else
        events[i].push_back(*event);
    }
  }

  std::size_t step_;
  std::vector<std::unique_ptr<ClientCore>> clients_;
  ServerCore server_;
};

TEST(ClientAndServer, ExchangePacketsBothWaysHoweverStreamsAreCut) {
  for (std::size_t step : {1u, 3u, 7u, 64u, 1u << 20}) {
    for (bool fast_start : {false, true}) {
      Region region(step);
      SeededRng keys(2);
      const KeyPair a = KeyPair::generate(keys), b = KeyPair::generate(keys);
      ClientCore& first = region.add(a, fast_start);
      ClientCore& second = region.add(b, fast_start);
      ASSERT_TRUE(std::holds_alternative<LoggedIn>(region.events[0].at(0)));
      ASSERT_TRUE(std::holds_alternative<LoggedIn>(region.events[1].at(0)));
      for (int i = 0; i < 30; ++i) {
        first.send_packet(b.pub, as_bytes("to b " + std::to_string(i)), region.now);
        second.send_packet(a.pub, as_bytes("to a " + std::to_string(i)), region.now);
        region.run();
      }
      ASSERT_EQ(region.packets[0].size(), 30u);
      ASSERT_EQ(region.packets[1].size(), 30u);
      EXPECT_EQ(region.packets[1][29], "to b 29");
      EXPECT_EQ(region.packets[0][29], "to a 29");
    }
  }
}

TEST(ClientAndServer, StayTogetherForAnHourOfPingsAndKeepAlives) {
  Region region(1u << 16);
  SeededRng keys(2);
  ClientCore& client = region.add(KeyPair::generate(keys), true);
  for (int second = 0; second < 3600; ++second) region.advance(1s);
  EXPECT_EQ(client.state(), ClientState::Established);
  int pongs = 0;
  for (const auto& event : region.events[0]) pongs += std::holds_alternative<PongReceived>(event);
  EXPECT_EQ(pongs, 720);
}

}  // namespace
}  // namespace dh::derp::test
