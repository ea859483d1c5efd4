#include "io/udp_sockets.hh"

#include <vector>

#include <gtest/gtest.h>

#include "io/udp_batch.hh"

namespace dh::io {
namespace {

Bytes numbered(std::size_t size, std::size_t number) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(number * 31 + i);
  return out;
}

// Two sets of sockets on loopback; everything the second one hears is kept.
struct UdpPair {
  explicit UdpPair(UdpOffload offload)
      : sender(
            context.get_executor(), offload, [](auto&&...) {}, [] {}, [](auto&&...) {}, [](auto&&...) {}),
        receiver(
            context.get_executor(), offload,
            [this](path::SocketId, const Endpoint& from, ByteSpan datagram, Instant) {
              sources.push_back(from);
              heard.emplace_back(datagram.begin(), datagram.end());
            },
            [] {}, [](auto&&...) {}, [](auto&&...) {}) {
    const auto from = sender.open(0, false), to = receiver.open(0, false);
    sender_port = from.value();
    target = {IpAddress::v4(127, 0, 0, 1), to.value()};
  }

  void run_until_heard(std::size_t count) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (heard.size() < count && std::chrono::steady_clock::now() < limit)
      context.run_one_for(std::chrono::milliseconds(100));
  }

  asio::io_context context;
  UdpSockets sender, receiver;
  std::uint16_t sender_port = 0;
  Endpoint target;
  std::vector<Endpoint> sources;
  std::vector<Bytes> heard;
};

class UdpSocketsTest : public testing::TestWithParam<bool> {};

// The last of a batch may be shorter; the one behind it, and a longer one, begin another.
TEST_P(UdpSocketsTest, DatagramsArriveWholeAndInOrder) {
  UdpPair pair({.segment = GetParam(), .coalesce = GetParam()});
  std::vector<Bytes> sent;
  for (const std::size_t size : {1200, 1200, 1200, 700, 1200, 60, 1400, 1400})
    sent.push_back(numbered(size, sent.size()));
  for (int i = 0; i < 100; ++i) sent.push_back(numbered(1000, sent.size()));
  for (const Bytes& datagram : sent) pair.sender.send(0, pair.target, datagram, 0);
  pair.sender.flush();
  pair.run_until_heard(sent.size());
  ASSERT_EQ(pair.heard.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(equal_bytes(pair.heard[i], sent[i])) << i;
  for (const Endpoint& from : pair.sources) EXPECT_EQ(from.port, pair.sender_port);
  const UdpCounters &out = pair.sender.counters(), &in = pair.receiver.counters();
  EXPECT_EQ(out.datagrams_out, sent.size());
  EXPECT_EQ(in.datagrams_in, sent.size());
  EXPECT_EQ(in.bytes_in, out.bytes_out);
  if (!GetParam()) {
    EXPECT_EQ(out.send_calls, sent.size());
  }
}

TEST_P(UdpSocketsTest, WhatIsBuiltInTheirRoomArrivesLikeAnythingElse) {
  UdpPair pair({.segment = GetParam(), .coalesce = GetParam()});
  std::vector<Bytes> sent;
  for (int i = 0; i < 300; ++i) {  // more than fits the room at once, and batches cut short on the way
    sent.push_back(numbered(i % 50 == 49 ? 900u : 1172u, sent.size()));
    const ByteSpan room = pair.sender.room();
    ASSERT_GE(room.size(), UdpBatch::kMaxDatagram);
    std::copy(sent.back().begin(), sent.back().end(), room.begin());
    pair.sender.send(0, pair.target, room.first(sent.back().size()), 0);
    if (i % 20 == 0) pair.run_until_heard(sent.size() / 2);  // loopback's buffer must not overflow
  }
  pair.sender.flush();
  pair.run_until_heard(sent.size());
  ASSERT_EQ(pair.heard.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(equal_bytes(pair.heard[i], sent[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Offload, UdpSocketsTest, testing::Values(false, true),
                         [](const auto& offload) { return offload.param ? "Whole" : "OneByOne"; });

TEST(UdpSockets, SayHowMuchTheyCanHold) {
  UdpPair pair({});
  EXPECT_GT(pair.receiver.counters().receive_buffer_bytes, 0u);
}

TEST(UdpBatch, KeepsADatagramThatDidNotFitWhereItWasBuilt) {
  UdpBatch batch;
  std::size_t flushes = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    const Bytes datagram = numbered(1 + i * 97 % UdpBatch::kMaxDatagram, i);
    const ByteSpan room = batch.room();
    ASSERT_EQ(room.size(), UdpBatch::kMaxDatagram);
    std::copy(datagram.begin(), datagram.end(), room.begin());
    const ByteView built = room.first(datagram.size());
    if (!batch.fits(built.size())) {
      batch.clear(built);
      ++flushes;
    }
    batch.add(built);
    ASSERT_TRUE(equal_bytes(batch.bytes().last(datagram.size()), datagram)) << i;
  }
  EXPECT_GT(flushes, 200u);
}

}  // namespace
}  // namespace dh::io
