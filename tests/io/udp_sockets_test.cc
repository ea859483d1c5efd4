#include "io/udp_sockets.hh"

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "bulk/limits.hh"
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
            [this](path::SocketId, const Endpoint& from, ByteSpan datagram, Instant,
                   const std::optional<bulk::Opened>& ahead) {
              opened.push_back(ahead);
              sources.push_back(from);
              heard.emplace_back(datagram.begin(), datagram.end());
            },
            [] {}, [](auto&&...) {}, [](auto&&...) {}) {
    const auto from = sender.open(0, false), to = receiver.open(0, false);
    sender_port = from.value();
    target = {IpAddress::v4(127, 0, 0, 1), to.value()};
  }

  void send(ByteView datagram, std::uint8_t lane = 0, bulk::Seal seal = {}) {
    sender.send({.to = target, .lane = lane}, datagram, std::move(seal));
  }

  void run_until_heard(std::size_t count) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (heard.size() < count && std::chrono::steady_clock::now() < limit)
      context.run_one_for(std::chrono::milliseconds(100));
  }

  ByteSpan wait_for_room() {
    ByteSpan room;
    while ((room = sender.room()).empty()) context.run_one_for(std::chrono::milliseconds(100));
    return room;
  }

  void wait_until_sent(std::size_t datagrams) {
    while (sender.counters().datagrams_out < datagrams) std::this_thread::yield();
  }

  asio::io_context context;
  UdpSockets sender, receiver;
  std::uint16_t sender_port = 0;
  Endpoint target;
  std::vector<Endpoint> sources;
  std::vector<Bytes> heard;
  std::vector<std::optional<bulk::Opened>> opened;
};

class UdpSocketsTest : public testing::TestWithParam<UdpOffload> {};

// The last of a batch may be shorter; the one behind it, and a longer one, begin another.
TEST_P(UdpSocketsTest, DatagramsArriveWholeAndInOrder) {
  UdpPair pair(GetParam());
  std::vector<Bytes> sent;
  for (const std::size_t size : {1200, 1200, 1200, 700, 1200, 60, 1400, 1400})
    sent.push_back(numbered(size, sent.size()));
  for (int i = 0; i < 100; ++i) sent.push_back(numbered(1000, sent.size()));
  for (const Bytes& datagram : sent) {
    pair.wait_for_room();
    pair.send(datagram);
  }
  pair.sender.flush();
  pair.run_until_heard(sent.size());
  ASSERT_EQ(pair.heard.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(equal_bytes(pair.heard[i], sent[i])) << i;
  for (const Endpoint& from : pair.sources) EXPECT_EQ(from.port, pair.sender_port);
  pair.wait_until_sent(sent.size());
  const UdpCounters &out = pair.sender.counters(), &in = pair.receiver.counters();
  EXPECT_EQ(out.datagrams_out, sent.size());
  EXPECT_EQ(in.datagrams_in, sent.size());
  EXPECT_EQ(in.bytes_in, out.bytes_out);
  if (!GetParam().segment) {
    EXPECT_EQ(out.send_calls, sent.size());
  }
}

TEST_P(UdpSocketsTest, WhatIsBuiltInTheirRoomArrivesLikeAnythingElse) {
  UdpPair pair(GetParam());
  std::vector<Bytes> sent;
  for (int i = 0; i < 300; ++i) {  // more than fits the room at once, and batches cut short on the way
    sent.push_back(numbered(i % 50 == 49 ? 900u : 1172u, sent.size()));
    const ByteSpan room = pair.wait_for_room();
    ASSERT_GE(room.size(), UdpBatch::kMaxDatagram);
    std::copy(sent.back().begin(), sent.back().end(), room.begin());
    pair.send(room.first(sent.back().size()));
    if (i % 20 != 0) continue;  // loopback's buffer must not overflow
    pair.sender.flush();
    pair.run_until_heard(sent.size() / 2);
  }
  pair.sender.flush();
  pair.run_until_heard(sent.size());
  ASSERT_EQ(pair.heard.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(equal_bytes(pair.heard[i], sent[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Offload, UdpSocketsTest,
                         testing::Values(UdpOffload{.segment = false, .coalesce = false}, UdpOffload{},
                                         UdpOffload{.send_thread = true, .receive_thread = true},
                                         UdpOffload{.segment = false, .send_thread = true}),
                         [](const auto& offload) {
                           return std::string(offload.param.segment ? "Whole" : "OneByOne") +
                                  (offload.param.send_thread ? "ByThread" : "") +
                                  (offload.param.receive_thread ? "ToThread" : "");
                         });

// The kernel cuts the first 4 MiB, then the next one leaves in datagrams sent one by one, to compare; by then
// it is known what costs less here.
TEST(UdpSockets, CompareWhatSegmentingCostsAndLoseNothing) {
  for (const bool by_thread : {false, true}) {
    UdpPair pair({.send_thread = by_thread});
    constexpr std::size_t kSize = 1200, kBatches = 160;  // of 40: 7.3 MiB
    const Bytes datagram = numbered(kSize, 1);
    std::size_t sent = 0;
    std::uint64_t most_calls = 0, calls = 0;
    for (std::size_t batch = 0; batch < kBatches; ++batch) {
      for (int i = 0; i < 40; ++i) {
        pair.wait_for_room();
        pair.send(datagram);
        ++sent;
      }
      pair.sender.flush();
      pair.run_until_heard(sent);
      pair.wait_until_sent(sent);
      most_calls = std::max(most_calls, pair.sender.counters().send_calls - calls);
      calls = pair.sender.counters().send_calls;
    }
    ASSERT_EQ(pair.heard.size(), sent);
    EXPECT_EQ(pair.sender.counters().datagrams_out, sent);
    EXPECT_GE(most_calls, 40u) << "one by one was never tried";
  }
}

// What a stream does: sealed on one thread, opened on another, in order, far more than goes at once.
TEST(UdpSockets, SealAndOpenOnThreadsOfTheirOwn) {
  UdpPair pair({.send_thread = true, .receive_thread = true});
  bulk::StreamConfig config;
  bulk::PacketSealer sealer(config, bulk::Direction::ToReceiver, 4);
  bulk::PacketOpener opener(config, bulk::Direction::ToReceiver, 4);
  pair.receiver.use(0, {opener.ahead()});
  pair.send(numbered(100, 0));  // not of the stream: comes as it is
  pair.sender.flush();
  pair.run_until_heard(1);
  EXPECT_FALSE(pair.opened.at(0));
  constexpr std::size_t kDatagrams = 3000, kPlain = 1200;
  for (std::size_t i = 1; i <= kDatagrams; ++i) {
    const ByteSpan room = pair.wait_for_room();
    ASSERT_FALSE(room.empty());
    const Bytes content = numbered(kPlain, i);
    std::copy(content.begin(), content.end(), room.begin() + wire::BulkHeader::kSize);
    auto prepared = sealer.prepare(room, kPlain, false, false);
    pair.send(room.first(prepared.size), 0, std::move(prepared.seal));
    if (i % 44 != 0) continue;  // loopback's buffer must not overflow
    pair.sender.flush();
    pair.run_until_heard(i > 88 ? i - 88 : 0);  // two batches
  }
  pair.sender.flush();
  pair.run_until_heard(kDatagrams + 1);
  ASSERT_EQ(pair.heard.size(), kDatagrams + 1);
  for (std::size_t i = 1; i <= kDatagrams; ++i) {
    ASSERT_TRUE(pair.opened[i] && pair.opened[i]->genuine) << i;
    const ByteView plain = ByteView(pair.heard[i]).subspan(wire::BulkHeader::kSize, kPlain);
    ASSERT_TRUE(equal_bytes(plain, numbered(kPlain, i))) << i;
  }
}

// Every lane has a thread at either end and a buffer at the far one; the kernel sorts them.
TEST(UdpSockets, SpreadLanesOverThreadsAndBuffers) {
  constexpr std::size_t kLanes = bulk::kMaxLanes, kRuns = 200, kRun = 20, kPlain = 1200;
  UdpPair pair({.send_thread = true, .receive_thread = true});
  pair.sender.send_lanes(kLanes);
  pair.receiver.receive_lanes(0, kLanes);
  ASSERT_EQ(pair.receiver.receive_threads(), kLanes);
  bulk::StreamConfig config;
  std::vector<std::unique_ptr<bulk::PacketSealer>> sealers;
  std::vector<std::unique_ptr<bulk::PacketOpener>> openers;
  for (bulk::PathId lane = kLanes; lane < 2 * kLanes; ++lane) {
    sealers.push_back(std::make_unique<bulk::PacketSealer>(config, bulk::Direction::ToReceiver, lane));
    openers.push_back(std::make_unique<bulk::PacketOpener>(config, bulk::Direction::ToReceiver, lane));
  }
  for (std::size_t thread = 0; thread < kLanes; ++thread) {
    AheadOpeners of_thread;
    for (const auto& opener : openers) of_thread.push_back(opener->ahead());
    pair.receiver.use(thread, std::move(of_thread));
  }
  for (std::size_t i = 0; i < kRuns * kRun; ++i) {
    const std::size_t lane = i / kRun % kLanes;
    const ByteSpan room = pair.wait_for_room();
    const Bytes content = numbered(kPlain, i);
    std::copy(content.begin(), content.end(), room.begin() + wire::BulkHeader::kSize);
    auto prepared = sealers[lane]->prepare(room, kPlain, false, false);
    pair.send(room.first(prepared.size), static_cast<std::uint8_t>(lane), std::move(prepared.seal));
    if (i % 44 == 43) pair.run_until_heard(i < 88 ? 0 : i - 88);  // the buffers must not overflow
  }
  pair.sender.flush();
  pair.run_until_heard(kRuns * kRun);
  ASSERT_EQ(pair.heard.size(), kRuns * kRun);
  std::array<std::uint64_t, kLanes> next{};
  for (std::size_t i = 0; i < pair.heard.size(); ++i) {
    ASSERT_TRUE(pair.opened[i] && pair.opened[i]->genuine) << i;
    const auto header = wire::BulkHeader::parse(pair.heard[i]).value();
    std::uint64_t& expected = next[header.path - kLanes];
    ASSERT_EQ(header.packet_number, expected) << "overtaken within a lane";
    const std::size_t run = expected / kRun * kLanes + header.path - kLanes;
    const ByteView plain = ByteView(pair.heard[i]).subspan(wire::BulkHeader::kSize, kPlain);
    ASSERT_TRUE(equal_bytes(plain, numbered(kPlain, run * kRun + expected % kRun))) << i;
    ++expected;
  }
  std::vector<Duration> at_work = pair.receiver.lane_cpu_times();
  ASSERT_EQ(at_work.size(), 1 + kLanes);
  at_work.erase(at_work.begin());  // it could send, too
  for (const Duration time : at_work) EXPECT_GT(time, *std::max_element(at_work.begin(), at_work.end()) / 20);
}

// A loop that does everything itself has more buffers, too, and closes them all.
TEST(UdpSockets, SpreadLanesOverBuffersWithoutThreads) {
  UdpPair pair({});
  pair.receiver.receive_lanes(0, 3);
  Bytes datagram = numbered(300, 1);
  datagram[0] = std::byte{0x80};
  for (std::uint8_t path = 0; path < 8; ++path) {
    datagram[1] = std::byte{path};
    pair.send(datagram, path % 4);
  }
  pair.sender.flush();
  pair.run_until_heard(8);
  EXPECT_EQ(pair.heard.size(), 8u);
  pair.receiver.close(0);
  pair.send(datagram);
  pair.sender.flush();
  pair.context.poll();
  EXPECT_EQ(pair.heard.size(), 8u);
}

TEST(UdpSockets, CloseWhileTheirThreadsAreBusy) {
  for (int round = 0; round < 20; ++round) {
    UdpPair pair({.send_thread = true, .receive_thread = true});
    pair.sender.send_lanes(1 + round % 4);
    pair.receiver.receive_lanes(0, 1 + round % 3);
    for (int i = 0; i < 400; ++i)
      pair.send(numbered(1200, 1), static_cast<std::uint8_t>(i % (1 + round % 4)));
    pair.receiver.close(0);
    if (round % 2 == 0) pair.sender.close(0);
    pair.context.poll();
  }
}

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
