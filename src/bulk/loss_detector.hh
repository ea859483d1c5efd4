#pragma once

#include <algorithm>
#include <optional>

#include "bulk/limits.hh"
#include "bulk/rtt_estimator.hh"
#include "bulk/sent_packets.hh"

namespace dh::bulk {

/// Decides when a packet of one lane is lost: enough later packets were acked, or one was and enough time has
/// passed (RFC 9002 §6.1). Learns from its mistakes: a packet that was declared lost and then acked widens
/// the threshold that condemned it.
class LossDetector {
public:
  /// Declares losses among the packets older than `largest_acked`: calls on_lost(packet) for each, oldest
  /// first, after marking it. `is_fast`: the path moves packets so quickly that a count alone means nothing.
  /// Returns how many records it had to look at.
  template <class OnLost>
  std::uint64_t detect(SentPackets& packets, std::uint64_t largest_acked, const RttEstimator& rtt,
                       bool is_fast, Instant now, OnLost&& on_lost) {
    next_check_.reset();
    const Duration delay = time_threshold(rtt);
    const Duration min_age =
        is_fast ? std::max<Duration>(kTimerGranularity, rtt.smoothed() / 8) : Duration::zero();
    cursor_ = std::max(cursor_, packets.begin());
    // Numbers and sending times rise together, so the first packet that may still arrive ends the search.
    std::uint64_t looks = 0;
    for (; cursor_ < packets.end() && cursor_ < largest_acked; ++cursor_) {
      SentPacket& packet = packets[cursor_];
      ++looks;
      if (packet.state != PacketState::Outstanding) continue;
      const Duration age = now - packet.sent_at;
      const bool by_count = largest_acked - cursor_ >= packet_threshold_;
      if (age < delay && !(by_count && age >= min_age)) {
        next_check_ = packet.sent_at + (by_count ? std::min(min_age, delay) : delay);
        break;
      }
      packet.state = PacketState::Lost;
      on_lost(packet);
    }
    return looks;
  }

  /// Packet `number` was declared lost and is acked now. `largest_acked`: newest ack before this one.
  void on_spurious(std::uint64_t number, std::uint64_t largest_acked, std::uint64_t window_packets) {
    const std::uint64_t distance = largest_acked > number ? largest_acked - number : 0;
    const std::uint64_t most = std::max(window_packets / 2, kPacketThreshold);
    if (distance >= packet_threshold_ && packet_threshold_ < most) {
      packet_threshold_ = std::min(distance + 1, most);
    } else {
      time_shift_ = std::max(time_shift_ - 1, 0);
    }
  }

  /// When detect() should run again although no ack has come.
  std::optional<Instant> next_check() const { return next_check_; }
  void clear_check() { next_check_.reset(); }
  std::uint64_t packet_threshold() const { return packet_threshold_; }
  Duration time_threshold(const RttEstimator& rtt) const {
    const Duration base = std::max(rtt.smoothed(), rtt.latest());
    return std::max<Duration>(base + base / (1 << time_shift_), kTimerGranularity);
  }

private:
  std::uint64_t cursor_ = 0;  // everything below is settled or remembered only for a late ack
  std::uint64_t packet_threshold_ = kPacketThreshold;
  int time_shift_ = kTimeThresholdShift;  // 3: 9/8 rtt ... 0: 2 rtt
  std::optional<Instant> next_check_;
};

}  // namespace dh::bulk
