#include "io/tcp_flows.hh"

#include <gtest/gtest.h>

#include "crypto/keys.hh"
#include "io/clock.hh"

namespace dh::io {
namespace {

using Unix = asio::local::stream_protocol;

/// Both ends of a tunnel over an in-memory way, with a connected pair of sockets outside of each.
class FlowWorld {
public:
  FlowWorld() : rng(1) {
    crypto_init();
    quic::Config config;
    rng.fill(config.psk.expose_mutable());
    rng.fill(config.first_connection_id);
    opener.quic = std::make_unique<quic::Connection>(config, now(), rng);
    config.server = true;
    sharer.quic = std::make_unique<quic::Connection>(config, now(), rng);
    for (End* end : {&opener, &sharer})
      end->flows = std::make_unique<TcpFlows>(
          context.get_executor(), *end->quic, [] {},
          [this](quic::StreamId stream, const tunnel::StreamHeader& header) {
            wanted = stream;
            forward = header.forward;
          },
          [this](std::uint64_t code) { reset_code = code; });
    run([&] { return opener.established && sharer.established; });
  }

  void run(const std::function<bool()>& done) {
    const Instant limit = now() + 10s;
    while (!done()) {
      ASSERT_LT(now(), limit);
      context.restart();
      context.poll();
      move(opener, sharer);
      move(sharer, opener);
    }
  }
  /// Until nothing has moved for some rounds.
  void settle() {
    for (int quiet = 0; quiet < 50;) {
      const auto before = moved;
      context.restart();
      context.poll();
      move(opener, sharer);
      move(sharer, opener);
      quiet = moved == before ? quiet + 1 : 0;
    }
  }
  /// (what the application holds, what the tunnel got)
  std::pair<Unix::socket, StreamSocket> pair() {
    Unix::socket outer(context), inner(context);
    asio::local::connect_pair(outer, inner);
    outer.non_blocking(true);
    StreamSocket socket(std::move(inner));
    prepare_socket(socket);
    return {std::move(outer), std::move(socket)};
  }

  struct End {
    std::unique_ptr<quic::Connection> quic;
    std::unique_ptr<TcpFlows> flows;
    bool established = false;
  };

  asio::io_context context;
  SeededRng rng;
  End opener, sharer;
  std::optional<quic::StreamId> wanted;
  std::optional<std::uint64_t> reset_code;
  std::uint16_t forward = 0xffff;
  std::uint64_t moved = 0;

private:
  void move(End& from, End& to) {
    from.quic->on_timeout(now());
    while (const auto event = from.quic->poll_event()) {
      if (std::holds_alternative<quic::Established>(*event)) from.established = true;
      from.flows->on_event(*event);
      ++moved;
    }
    Bytes out(quic::kMaxDatagramBytes);
    while (const auto size = from.quic->poll_transmit(out, now())) {
      to.quic->on_datagram(ByteView(out).first(*size), now());
      ++moved;
    }
  }
};

TEST(TcpFlows, AReaderThatDoesNotReadCostsItsCreditAndNoMoreAndLosesNothing) {
  FlowWorld world;
  auto [client, inner] = world.pair();
  ASSERT_TRUE(world.opener.flows->open(inner, {}));
  world.run([&] { return world.wanted.has_value(); });
  EXPECT_EQ(world.forward, 0);
  auto [target, far] = world.pair();
  world.sharer.flows->attach(*world.wanted, std::move(far));

  Bytes sent(8 << 20);
  world.rng.fill(sent);
  std::size_t pushed = 0;
  const auto push = [&] {
    boost::system::error_code error;
    while (pushed < sent.size() && !error)
      pushed += client.write_some(asio::buffer(sent.data() + pushed, sent.size() - pushed), error);
  };
  for (std::size_t before = SIZE_MAX; before != pushed;) {
    before = pushed;
    push();
    world.settle();
  }
  ASSERT_LT(pushed, sent.size());
  const std::uint64_t held =
      world.opener.flows->counters().bytes_to_stream - world.sharer.flows->counters().bytes_to_tcp;
  EXPECT_LE(held, quic::kMaxUnsent + quic::kFreeWindow);
  EXPECT_GE(held, quic::kFirstWindow);

  Bytes received(sent.size());
  std::size_t got = 0;
  world.run([&] {
    push();
    boost::system::error_code error;
    while (got < received.size() && !error)
      got += target.read_some(asio::buffer(received.data() + got, received.size() - got), error);
    return got == received.size();
  });
  EXPECT_EQ(received, sent);
}

TEST(TcpFlows, ARefusalReachesTheOpenerWithItsReason) {
  FlowWorld world;
  auto [client, inner] = world.pair();
  ASSERT_TRUE(world.opener.flows->open(inner, {}));
  world.run([&] { return world.wanted.has_value(); });
  world.sharer.flows->refuse(*world.wanted, tunnel::StreamCode::TargetRefused);
  world.run([&] { return world.reset_code.has_value(); });
  EXPECT_EQ(*world.reset_code, static_cast<std::uint64_t>(tunnel::StreamCode::TargetRefused));
  EXPECT_EQ(world.opener.flows->size(), 0u);
  EXPECT_EQ(world.sharer.flows->size(), 0u);
  boost::system::error_code error;
  char byte = 0;
  client.read_some(asio::buffer(&byte, 1), error);
  EXPECT_TRUE(error && error != asio::error::would_block);
}

TEST(TcpFlows, WhatTheOpenerSaysBesideTheForwardItMaySayIsRefused) {
  FlowWorld world;
  const auto stream = world.opener.quic->open_stream();
  ASSERT_TRUE(stream);
  world.opener.quic->write(*stream, to_bytes(as_bytes("GET / HTTP/1.1\r\n")));
  std::optional<std::uint64_t> code;
  world.run([&] {
    while (const auto event = world.opener.quic->poll_event())
      if (const auto* reset = std::get_if<quic::StreamReset>(&*event)) code = reset->code;
    return code.has_value() || world.reset_code.has_value() || world.sharer.flows->counters().refused > 0;
  });
  EXPECT_FALSE(world.wanted);
  EXPECT_EQ(world.sharer.flows->counters().refused, 1u);
  EXPECT_EQ(world.sharer.flows->size(), 0u);
}

TEST(TcpFlows, TheEndOfTheSessionEndsEveryConnectionAtOnce) {
  FlowWorld world;
  auto [client, inner] = world.pair();
  ASSERT_TRUE(world.opener.flows->open(inner, {}));
  world.run([&] { return world.wanted.has_value(); });
  world.opener.flows->reset_all();
  boost::system::error_code error;
  char byte = 0;
  client.read_some(asio::buffer(&byte, 1), error);
  EXPECT_TRUE(error && error != asio::error::would_block);
  EXPECT_EQ(world.opener.flows->size(), 0u);
  auto [late, other] = world.pair();
  EXPECT_FALSE(world.opener.flows->open(other, {}));
}

// A stream may arrive in the very turn in which the session ends: its events come behind the end.
TEST(TcpFlows, AStreamThatCameWithTheEndIsNotTouched) {
  FlowWorld world;
  auto [client, inner] = world.pair();
  ASSERT_TRUE(world.opener.flows->open(inner, {}));
  world.sharer.flows->reset_all();
  world.settle();
  EXPECT_EQ(world.sharer.quic->open_streams(), 1u);
  EXPECT_FALSE(world.wanted);
  EXPECT_EQ(world.sharer.flows->size(), 0u);
}

}  // namespace
}  // namespace dh::io
