#include "lab/link_model.hh"

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace dh::lab {
namespace {

constexpr Instant kStart{1s};

Bytes numbered(std::uint32_t number, std::size_t size = 100) {
  Bytes packet(size);
  for (std::size_t i = 0; i < 4; ++i) packet[i] = static_cast<std::byte>(number >> (8 * (3 - i)) & 0xff);
  return packet;
}

std::uint32_t number_of(ByteView packet) {
  return std::accumulate(packet.begin(), packet.begin() + 4, 0U, [](std::uint32_t sum, std::byte b) {
    return sum << 8 | std::to_integer<std::uint32_t>(b);
  });
}

struct Arrival {
  Duration at;
  std::uint32_t number;
  bool operator==(const Arrival&) const = default;
};

/// Offers `count` packets of `size` bytes, one every `gap`, and steps from release to release.
std::vector<Arrival> flow(Link& link, std::uint32_t count, Duration gap, std::size_t size = 100) {
  std::vector<Arrival> arrivals;
  const auto drain = [&](Instant now) {
    while (const auto packet = link.poll_packet(now)) arrivals.push_back({now - kStart, number_of(*packet)});
  };
  Instant now = kStart;
  for (std::uint32_t i = 0; i < count; ++i, now += gap) {
    for (auto due = link.next_timeout(); due && *due < now; due = link.next_timeout()) drain(*due);
    link.on_packet(numbered(i, size), now);
    drain(now);
  }
  for (auto due = link.next_timeout(); due; due = link.next_timeout()) drain(*due);
  return arrivals;
}

void expect_balanced(const Link& link) {
  const LinkCounters& c = link.counters();
  EXPECT_EQ(c.offered + c.duplicated, c.lost + c.burst_lost + c.cut + c.too_big + c.queue_dropped +
                                          c.overflowed + c.delivered + link.waiting());
}

TEST(LinkModel, DoesNothingByDefault) {
  Link link(1);
  EXPECT_EQ(flow(link, 3, 1ms), (std::vector<Arrival>{{0ms, 0}, {1ms, 1}, {2ms, 2}}));
  expect_balanced(link);
}

TEST(LinkModel, ReleasesAPacketExactlyWhenItsDelayIsOver) {
  Link link(1);
  link.configure({.delay = 20ms});
  link.on_packet(numbered(7), kStart);
  EXPECT_EQ(link.next_timeout(), kStart + 20ms);
  EXPECT_FALSE(link.poll_packet(kStart + 20ms - 1ns));
  const auto packet = link.poll_packet(kStart + 20ms);
  ASSERT_TRUE(packet);
  EXPECT_EQ(number_of(*packet), 7U);
  EXPECT_EQ(packet->size(), 100U);
  EXPECT_FALSE(link.next_timeout());
}

TEST(LinkModel, KeepsTheOrderWhenTheDelayShrinksOrJitters) {
  Link link(5);
  link.configure({.delay = 50ms});
  link.on_packet(numbered(0), kStart);
  link.configure({.delay = 1ms, .jitter = 5ms});
  for (std::uint32_t i = 1; i < 50; ++i) link.on_packet(numbered(i), kStart + i * 100us);
  for (std::uint32_t i = 0; i < 50; ++i) {
    const auto packet = link.poll_packet(kStart + 1s);
    ASSERT_TRUE(packet);
    EXPECT_EQ(number_of(*packet), i);
  }
  expect_balanced(link);
}

TEST(LinkModel, JitterStaysBetweenZeroAndItsBound) {
  Link link(2);
  link.configure({.delay = 10ms, .jitter = 4ms});
  Duration least = 1s, most = 0s;
  for (const Arrival& a : flow(link, 500, 10ms)) {
    const Duration took = a.at - a.number * 10ms;
    least = std::min(least, took);
    most = std::max(most, took);
  }
  EXPECT_GE(least, 10ms);
  EXPECT_LE(most, 14ms);
  EXPECT_GT(most - least, 3900us);
}

TEST(LinkModel, LosesTheShareItIsTold) {
  Link link(3);
  link.configure({.loss = 0.05});
  const auto arrived = flow(link, 100'000, 1us).size();
  EXPECT_NEAR(static_cast<double>(arrived), 95'000, 4 * std::sqrt(100'000 * 0.05 * 0.95));
  EXPECT_EQ(link.counters().lost, 100'000 - arrived);
  expect_balanced(link);
}

TEST(LinkModel, LosesRunsOfTheLengthItIsTold) {
  Link link(4);
  link.configure({.burst_loss = 0.01, .burst_packets = 10});
  unsigned runs = 0;
  std::uint32_t expected = 0;
  for (const Arrival& a : flow(link, 100'000, 1us)) {
    runs += a.number != expected;
    expected = a.number + 1;
  }
  const double mean = static_cast<double>(link.counters().burst_lost) / runs;
  EXPECT_NEAR(mean, 10, 1.5);
  EXPECT_NEAR(runs, 910, 120);  // one begins after 100 good packets on average, and takes 10
  expect_balanced(link);
}

TEST(LinkModel, TheSameSeedLosesTheSamePackets) {
  const LinkSettings settings{.delay = 5ms, .jitter = 5ms, .loss = 0.2, .reorder = 0.1, .duplicate = 0.1};
  Link one(42), same(42), other(43);
  for (Link* link : {&one, &same, &other}) link->configure(settings);
  const auto arrivals = flow(one, 1000, 1ms);
  EXPECT_EQ(arrivals, flow(same, 1000, 1ms));
  EXPECT_NE(arrivals, flow(other, 1000, 1ms));
}

TEST(LinkModel, HeldBackPacketsComeLateAndTheOthersInOrder) {
  Link link(6);
  link.configure({.delay = 10ms, .reorder = 0.1, .reorder_by = 5ms});
  std::uint32_t newest = 0;
  unsigned late = 0;
  for (const Arrival& a : flow(link, 1000, 1ms)) {
    const Duration took = a.at - a.number * 1ms;
    EXPECT_TRUE(took == 10ms || took == 15ms);
    late += a.number < newest;
    newest = std::max(newest, a.number);
  }
  EXPECT_GT(late, 50U);
  EXPECT_EQ(link.counters().delivered, 1000U);
  EXPECT_NEAR(static_cast<double>(link.counters().reordered), 100, 40);
}

TEST(LinkModel, ACopyFollowsAtOnce) {
  Link link(7);
  link.configure({.duplicate = 1});
  EXPECT_EQ(flow(link, 2, 1ms), (std::vector<Arrival>{{0ms, 0}, {0ms, 0}, {1ms, 1}, {1ms, 1}}));
  EXPECT_EQ(link.counters().duplicated, 2U);
  expect_balanced(link);
}

TEST(LinkModel, SpacesPacketsByTheRate) {
  Link link(8);
  link.configure({.delay = 3ms, .rate_bits = 8e6});  // 1000 bytes are a millisecond
  EXPECT_EQ(flow(link, 3, 0ms, 1000), (std::vector<Arrival>{{4ms, 0}, {5ms, 1}, {6ms, 2}}));
}

TEST(LinkModel, DropsTheTailWhenTheQueueIsFull) {
  Link link(9);
  link.configure({.rate_bits = 8e6, .queue_bytes = 3000});
  EXPECT_EQ(flow(link, 5, 0ms, 1000), (std::vector<Arrival>{{1ms, 0}, {2ms, 1}, {3ms, 2}}));
  EXPECT_EQ(link.counters().queue_dropped, 2U);
  EXPECT_EQ(flow(link, 1, 0ms, 1000).size(), 0U) << "the same instant: still full";
  expect_balanced(link);
}

TEST(LinkModel, AnEmptyQueueTakesAPacketLargerThanItself) {
  Link link(9);
  link.configure({.rate_bits = 8e6, .queue_bytes = 10});
  EXPECT_EQ(flow(link, 2, 1ms, 1000).size(), 2U);
}

TEST(LinkModel, CarriesItsRateAndNoMore) {
  Link link(10);
  link.configure({.rate_bits = 50e6});
  const auto arrivals = flow(link, 5000, 160us, 1200);  // 60 Mbit/s for 0.8 s
  const double bits = static_cast<double>(link.counters().delivered_bytes) * 8;
  EXPECT_NEAR(bits / to_seconds(arrivals.back().at), 50e6, 1e6);
  EXPECT_NEAR(static_cast<double>(link.counters().queue_dropped) / 5000, 1.0 / 6, 0.02);
}

TEST(LinkModel, LargePacketsFallIntoAnMtuHole) {
  Link link(11);
  link.configure({.mtu_hole = 1280});
  link.on_packet(numbered(0, 1281), kStart);
  link.on_packet(numbered(1, 1280), kStart);
  const auto packet = link.poll_packet(kStart);
  ASSERT_TRUE(packet);
  EXPECT_EQ(number_of(*packet), 1U);
  EXPECT_FALSE(link.poll_packet(kStart));
  EXPECT_EQ(link.counters().too_big, 1U);
}

TEST(LinkModel, ACutLosesWhatComesAndNotWhatIsOnItsWay) {
  Link link(12);
  link.configure({.delay = 10ms});
  link.on_packet(numbered(0), kStart);
  link.configure({.delay = 10ms, .cut = true});
  link.on_packet(numbered(1), kStart + 1ms);
  link.configure({.delay = 10ms});
  link.on_packet(numbered(2), kStart + 2ms);
  std::vector<std::uint32_t> arrived;
  while (const auto packet = link.poll_packet(kStart + 1s)) arrived.push_back(number_of(*packet));
  EXPECT_EQ(arrived, (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(link.counters().cut, 1U);
}

TEST(LinkModel, HoldsNoMoreThanItsBounds) {
  Link link(13);
  link.configure({.delay = 10s, .duplicate = 1});
  for (std::uint32_t i = 0; i < 1200; ++i) link.on_packet(numbered(i, 60'000), kStart);
  EXPECT_EQ(link.waiting(), kMaxHeldBytes / 60'000);
  EXPECT_GT(link.counters().overflowed, 0U);
  expect_balanced(link);
}

// The Internet checksum over a pseudo-header and a UDP packet: 0 when it is right.
std::uint16_t checksum_error(ByteView packet, std::size_t addresses, std::size_t address_bytes,
                             std::size_t udp) {
  std::uint32_t sum = 17 + static_cast<std::uint32_t>(packet.size() - udp);
  const auto add = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i)
      sum += std::to_integer<std::uint32_t>(packet[i]) << ((i - from) % 2 == 0 ? 8 : 0);
  };
  add(addresses, addresses + address_bytes);
  add(udp, packet.size());
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

/// A UDP packet with a right checksum.
Bytes udp_packet(bool ipv6, std::size_t payload, Rng& rng) {
  const std::size_t udp = ipv6 ? 40 : 20;
  Bytes packet(udp + 8 + payload);
  rng.fill(packet);
  packet[0] = ipv6 ? std::byte{0x60} : std::byte{0x45};
  if (!ipv6) packet[6] = packet[7] = std::byte{0};
  packet[ipv6 ? 6 : 9] = std::byte{17};
  packet[udp + 6] = packet[udp + 7] = std::byte{0};
  const std::uint16_t sum = checksum_error(packet, ipv6 ? 8 : 12, ipv6 ? 32 : 8, udp);
  packet[udp + 6] = static_cast<std::byte>(sum >> 8);
  packet[udp + 7] = static_cast<std::byte>(sum & 0xff);
  return packet;
}

TEST(CorruptPacket, ChangesOneBitOfAUdpPayloadAndMendsTheChecksum) {
  SeededRng rng(14);
  for (const bool ipv6 : {false, true}) {
    const std::size_t udp = ipv6 ? 40 : 20;
    for (std::size_t payload = 1; payload < 200; ++payload) {
      const Bytes before = udp_packet(ipv6, payload, rng);
      ASSERT_EQ(checksum_error(before, ipv6 ? 8 : 12, ipv6 ? 32 : 8, udp), 0);
      Bytes after = before;
      ASSERT_TRUE(corrupt_packet(after, rng));
      int bits = 0;
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (i == udp + 6 || i == udp + 7) continue;
        const int changed = __builtin_popcount(std::to_integer<unsigned>(before[i] ^ after[i]));
        if (i < udp + 8) {
          EXPECT_EQ(changed, 0) << "header byte " << i;
        }
        bits += changed;
      }
      EXPECT_EQ(bits, 1);
      EXPECT_EQ(checksum_error(after, ipv6 ? 8 : 12, ipv6 ? 32 : 8, udp), 0) << payload << " bytes";
    }
  }
}

TEST(CorruptPacket, LeavesAMissingChecksumMissing) {
  SeededRng rng(15);
  Bytes packet = udp_packet(false, 40, rng);
  packet[26] = packet[27] = std::byte{0};
  ASSERT_TRUE(corrupt_packet(packet, rng));
  EXPECT_EQ(packet[26], std::byte{0});
  EXPECT_EQ(packet[27], std::byte{0});
}

TEST(CorruptPacket, TakesAnyBytesWithoutLeavingThem) {
  SeededRng rng(16);
  for (int round = 0; round < 20'000; ++round) {
    Bytes packet(rng.below(64));
    rng.fill(packet);
    const Bytes before = packet;
    const bool changed = corrupt_packet(packet, rng);
    ASSERT_EQ(changed, packet != before);
  }
}

}  // namespace
}  // namespace dh::lab
