// Share and openers as cores, over one relay that only carries.

#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "session/token_samples.hh"
#include "session/tunnel_dialer.hh"
#include "session/tunnel_listener.hh"

namespace dh::session {
namespace {

constexpr UnixSeconds kWall{std::chrono::seconds(1'799'999'000)};
constexpr Duration kDelay = 20ms;

struct Opener {
  KeyPair key;
  std::unique_ptr<TunnelDialer> dialer;
  bool open = false, established = false;
  std::optional<DialFailed> failed;
  std::optional<TunnelEnded> ended;
  std::string received;
  std::size_t back = 0;
};

/// The share answers every stream with what it got.
class TunnelWorld {
public:
  explicit TunnelWorld(std::size_t max_clients = 16) : rng(1) {
    crypto_init();
    share_key = KeyPair::generate(rng);
    config.noise_key = KeyPair::generate(rng);
    config.max_clients = max_clients;
    config.paths = PathPolicy::ForceRelay;
    Token& token = config.token;
    token = sample_token();
    token.capabilities = static_cast<std::uint32_t>(Capability::Share);
    token.listener_derp = share_key.pub;
    token.listener_noise = config.noise_key.pub;
    token.expires = kWall + std::chrono::hours(1000);
    listener.emplace(config, now, rng);
    listener->on_relay_up(0, now);
    listener->on_relay_writable(0, true);
  }

  Opener& add_opener(PathPolicy paths = PathPolicy::ForceRelay) {
    auto opener = std::make_unique<Opener>();
    opener->key = KeyPair::generate(rng);
    TunnelDialerConfig dial;
    dial.token = config.token;
    dial.derp_key = opener->key;
    dial.paths = paths;
    opener->dialer = std::make_unique<TunnelDialer>(dial, now, kWall, rng);
    opener->dialer->on_relay_up(0, now);
    opener->dialer->on_relay_writable(0, true);
    openers.push_back(std::move(opener));
    return *openers.back();
  }

  bool run(
      Duration limit, const std::function<bool()>& done = [] { return false; }) {
    const Instant end = now + limit;
    for (;;) {
      drain();
      if (done()) return true;
      std::optional<Instant> next = listener->next_timeout();
      for (auto& opener : openers) next = earlier(next, opener->dialer->next_timeout());
      if (!wire.empty()) next = earlier(next, wire.begin()->first);
      if (!next || *next > end) {
        now = end;
        return done();
      }
      now = std::max(now, *next);
      while (!wire.empty() && wire.begin()->first <= now) {
        Packet packet = std::move(wire.begin()->second);
        wire.erase(wire.begin());
        if (packet.to == share_key.pub) {
          listener->on_relay_packet(0, packet.from, packet.bytes, now, kWall);
        } else {
          for (auto& opener : openers)
            if (opener->key.pub == packet.to)
              opener->dialer->on_relay_packet(0, packet.from, packet.bytes, now);
        }
      }
      listener->on_timeout(now);
      for (auto& opener : openers) opener->dialer->on_timeout(now, kWall);
    }
  }

  void drain() {
    Bytes out(Session::kMaxPacketBytes);
    for (bool again = true; again;) {
      again = false;
      while (auto event = listener->poll_event()) {
        if (const auto* arrived = std::get_if<ClientArrived>(&*event)) clients.push_back(arrived->peer);
        if (const auto* happened = std::get_if<ClientEvent>(&*event)) {
          if (const auto* ended = std::get_if<TunnelEnded>(&happened->event)) ends.push_back(ended->end);
        }
        if (const auto* gone = std::get_if<ClientGone>(&*event)) std::erase(clients, gone->peer);
      }
      for (const PeerId id : clients) serve(listener->link(id)->quic());
      for (auto& opener : openers) read(*opener);
      while (auto sent = listener->poll_transmit(out, now)) {
        post(share_key.pub, std::get<Session::RelayTransmit>(sent->what), out);
        again = true;
      }
      for (auto& opener : openers) {
        while (auto sent = opener->dialer->poll_transmit(out, now)) {
          post(opener->key.pub, std::get<Session::RelayTransmit>(*sent), out);
          again = true;
        }
      }
    }
  }

  void serve(quic::Connection& connection) {
    while (const auto event = connection.poll_event()) {
      const auto* readable = std::get_if<quic::StreamReadable>(&*event);
      if (readable == nullptr) continue;
      for (ByteView piece; !(piece = connection.readable(readable->stream)).empty();) {
        connection.write(readable->stream, piece);
        connection.consume(readable->stream, piece.size(), now);
      }
    }
  }

  void read(Opener& opener) {
    while (auto event = opener.dialer->poll_event()) {
      if (std::holds_alternative<DialerOpen>(*event)) opener.open = true;
      if (const auto* failed = std::get_if<DialFailed>(&*event)) opener.failed = *failed;
      if (const auto* happened = std::get_if<TunnelEvent>(&*event)) {
        if (const auto* ended = std::get_if<TunnelEnded>(happened)) opener.ended = *ended;
        if (std::holds_alternative<PeerBack>(*happened)) ++opener.back;
      }
    }
    if (opener.dialer->link() == nullptr) return;
    quic::Connection& connection = opener.dialer->link()->quic();
    while (const auto event = connection.poll_event()) {
      if (std::holds_alternative<quic::Established>(*event)) opener.established = true;
      const auto* readable = std::get_if<quic::StreamReadable>(&*event);
      if (readable == nullptr) continue;
      for (ByteView piece; !(piece = connection.readable(readable->stream)).empty();) {
        opener.received += as_text(piece);
        connection.consume(readable->stream, piece.size(), now);
      }
    }
  }

  void post(const PublicKey& from, const Session::RelayTransmit& sent, ByteView bytes) {
    if (dead) return;
    wire.emplace(now + kDelay, Packet{from, sent.to, to_bytes(bytes.first(sent.size))});
  }

  struct Packet {
    PublicKey from, to;
    Bytes bytes;
  };
  SeededRng rng;
  Instant now{};
  KeyPair share_key;
  TunnelListenerConfig config;
  std::optional<TunnelListener> listener;
  std::vector<std::unique_ptr<Opener>> openers;
  std::vector<PeerId> clients;
  std::vector<TunnelEnd> ends;
  std::multimap<Instant, Packet> wire;
  bool dead = false;
};

std::string echo(TunnelWorld& world, Opener& opener, const std::string& text, Duration limit = 5s) {
  quic::Connection& connection = opener.dialer->link()->quic();
  const auto stream = connection.open_stream();
  if (!stream) return "no stream";
  opener.received.clear();
  connection.write(*stream, as_bytes(text));
  world.run(limit, [&] { return opener.received.size() >= text.size(); });
  return opener.received;
}

TEST(Tunnel, ManyOpenersUseOneTokenAtOnce) {
  TunnelWorld world;
  for (int i = 0; i < 5; ++i) world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] {
    return std::ranges::all_of(world.openers,
                               [](auto& opener) { return opener->open && opener->established; });
  }));
  EXPECT_EQ(world.listener->clients(), 5u);
  for (auto& opener : world.openers) EXPECT_EQ(echo(world, *opener, "hello"), "hello");
}

TEST(Tunnel, OneOpenerTooManyIsToldSoAndComesInWhenOneHasLeft) {
  TunnelWorld world(2);
  Opener& first = world.add_opener();
  world.add_opener();
  world.run(2s);
  Opener& third = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return third.failed.has_value(); }));
  EXPECT_EQ(third.failed->end, SessionEnd::Rejected);
  EXPECT_EQ(third.failed->reject, RejectReason::Busy);
  first.dialer->close("bye", world.now);
  ASSERT_TRUE(world.run(5s, [&] { return world.clients.size() == 1; }));
  EXPECT_EQ(world.ends.back(), TunnelEnd::ClosedByPeer);
  Opener& fourth = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return fourth.open; }));
}

TEST(Tunnel, OneThatHasBeenSilentForLongMakesRoom) {
  TunnelWorld world(1);
  Opener& first = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return first.open; }));
  world.openers.front()->key = KeyPair::generate(world.rng);  // nothing reaches it any more
  world.run(60s);
  Opener& second = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return second.open; }));
  EXPECT_EQ(world.ends.back(), TunnelEnd::Replaced);
}

TEST(Tunnel, GoesOnWithinFiveSecondsAfterTenMinutesWithoutANetwork) {
  TunnelWorld world;
  Opener& opener = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return opener.open && opener.established; }));
  EXPECT_EQ(echo(world, opener, "before"), "before");
  world.dead = true;
  const auto stream = opener.dialer->link()->quic().open_stream();
  opener.received.clear();
  opener.dialer->link()->quic().write(*stream, as_bytes("meanwhile"));
  world.run(10min);
  EXPECT_EQ(opener.received, "");
  world.dead = false;
  EXPECT_TRUE(world.run(5s, [&] { return opener.received == "meanwhile"; }));
  EXPECT_EQ(opener.back, 1u);
}

TEST(Tunnel, WhatThePathFinderHearsLeavesBeforeTheNextInput) {
  TunnelWorld world;
  Opener& opener = world.add_opener(PathPolicy::Best);
  ASSERT_TRUE(world.run(5s, [&] { return opener.open && opener.established; }));
  world.run(1s);
  Bytes out(Session::kMaxPacketBytes);
  ASSERT_FALSE(opener.dialer->poll_transmit(out, world.now));
  path::PathFinder& paths = *opener.dialer->link()->paths();
  paths.on_local_addresses({{IpAddress::parse("192.0.2.7").value(), 24, 1500}});
  paths.on_socket_open(0, false, 40'000, world.now);
  EXPECT_TRUE(opener.dialer->poll_transmit(out, world.now));
}

TEST(Tunnel, TheShareSaysGoodbyeToEverybody) {
  TunnelWorld world;
  for (int i = 0; i < 3; ++i) world.add_opener();
  world.run(2s);
  world.listener->close("enough", world.now);
  ASSERT_TRUE(world.run(1s, [&] { return world.listener->clients() == 0; }));
  for (auto& opener : world.openers) {
    ASSERT_TRUE(opener->ended.has_value());
    EXPECT_EQ(opener->ended->end, TunnelEnd::ClosedByPeer);
    EXPECT_EQ(opener->ended->reason, "enough");
  }
}

TEST(Tunnel, AnswersRandomInitialsWithSilence) {
  TunnelWorld world;
  Opener& opener = world.add_opener();
  ASSERT_TRUE(world.run(5s, [&] { return opener.open && opener.established; }));
  const KeyPair stranger = KeyPair::generate(world.rng);
  Bytes out(Session::kMaxPacketBytes);
  for (int i = 0; i < 1000; ++i) {
    Bytes initial(1200);
    world.rng.fill(initial);
    initial[0] = std::byte{0xc0};
    world.listener->on_relay_packet(0, stranger.pub, initial, world.now, kWall);
  }
  EXPECT_FALSE(world.listener->poll_transmit(out, world.now).has_value());
  EXPECT_EQ(world.listener->clients(), 1u);
  EXPECT_GE(world.listener->unknown_packets(), 1000u);
  EXPECT_EQ(echo(world, opener, "still here"), "still here");
}

}  // namespace
}  // namespace dh::session
