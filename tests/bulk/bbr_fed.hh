#pragma once

// BBR fed by hand: every input is chosen, so the numbers are exact.

#include <gtest/gtest.h>

#include "bulk/bbr.hh"

namespace dh::bulk::test {

inline constexpr std::uint64_t kSegment = 1000;

// What one batch of acks says; one round trip unless told otherwise.
struct Acks {
  std::uint64_t bytes = 100'000;
  double rate = 1e6;  // bytes per second
  std::uint64_t in_flight = 100'000;
  std::uint64_t sent_in_flight = 100'000;  // when the sampled packet was sent
  std::uint64_t lost = 0;                  // since then
  bool app_limited = false;
  bool window_full = false;
  bool new_round = true;
  Duration rtt = 100ms, after = 100ms;
  PhaseCounts by_phase{};
};

struct Fed {
  explicit Fed(const BbrConfig& extensions = {}) : bbr(config(), extensions) {
    bbr.on_sent(kSegment, 0, now);
  }
  static ControllerConfig config() {
    return {.datagram_bytes = kSegment, .initial_packets = 32, .initial_rtt = 100ms, .seed = 7};
  }

  void ack(const Acks& acks) {
    now += acks.after;
    AckBatch batch;
    batch.now = now;
    batch.acked_bytes = acks.bytes;
    batch.acked_packets = acks.bytes / kSegment;
    batch.in_flight = acks.in_flight;
    batch.in_flight_before = acks.in_flight + acks.bytes;
    batch.rtt_sample = batch.smoothed_rtt = batch.min_rtt = acks.rtt;
    batch.window_full = acks.window_full;
    batch.acked_by_phase = acks.by_phase;
    RateSample sample;
    sample.prior_delivered = acks.new_round ? delivered : 0;
    delivered += acks.bytes;
    batch.delivered = delivered;
    sample.delivered = acks.bytes;
    sample.interval = from_seconds(static_cast<double>(acks.bytes) / acks.rate);
    sample.reliable = true;
    sample.app_limited = acks.app_limited;
    sample.lost = acks.lost;
    sample.in_flight = acks.sent_in_flight;
    batch.rate = sample;
    bbr.on_ack_batch(batch);
  }
  LostPacket lost_packet(std::uint64_t in_flight, std::uint64_t lost_since_sent, bool app_limited = false) {
    number += 2;  // never two in a row: each is a loss event
    return {.number = number,
            .bytes = kSegment,
            .sent_at = now - 50ms,
            .in_flight = in_flight,
            .lost_since_sent = lost_since_sent,
            .app_limited = app_limited,
            .phase = bbr.phase()};
  }
  void lose(int packets, std::uint64_t in_flight = 100'000) {
    for (int i = 1; i <= packets; ++i)
      bbr.on_packet_lost(lost_packet(in_flight, static_cast<std::uint64_t>(i) * kSegment));
  }
  /// Doubles the rate up to 1 MB/s and stays there: the pipe is full.
  void fill_pipe() {
    for (double rate = 250e3; rate < 1e6; rate *= 2) ack({.rate = rate});
    while (bbr.state() == BbrState::Startup) ack({.in_flight = 250'000});
  }
  /// An ack for every packet.
  void smooth(int rounds) {
    for (int i = 0; i < 100 * rounds; ++i) ack({.bytes = 1000, .new_round = i % 100 == 0, .after = 1ms});
  }
  void reach(BbrState state) {
    if (bbr.state() == BbrState::Startup) fill_pipe();
    for (int i = 0; i < 200 && bbr.state() != state; ++i)
      ack({.in_flight = bbr.state() == BbrState::ProbeRtt ? 50'000u : 100'000u});
    ASSERT_EQ(bbr.state(), state);
  }

  Instant now{1s};
  std::uint64_t delivered = 0, number = 0;
  Bbr bbr;
};

}  // namespace dh::bulk::test
