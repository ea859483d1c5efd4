#pragma once

#include <algorithm>
#include <cstdint>

#include "bulk/limits.hh"

namespace dh::bulk {

/// Datagrams that may be in flight through a relay. The relay keeps a short queue per destination and drops
/// its oldest entry when that is full, so a bound below the queue's length can lose nothing there. The bound
/// creeps up while rounds stay clean and falls back with the first loss. Behind a slow link that queue would
/// still be seconds long, and a message for the session's control channel would wait in it: where the round
/// trip grows by more than kRelayQueueDelay, the bound shrinks until it does not.
class RelayWindow {
public:
  std::uint64_t packets() const { return packets_; }
  /// `rtt`: of the newest packet acknowledged.
  void on_ack(std::uint64_t largest_acked, std::uint64_t next_number, Duration rtt, Instant now) {
    round_rtt_ = std::min(round_rtt_, rtt);
    if (largest_acked < round_end_) return;
    round_end_ = next_number;
    end_round(now);
    round_rtt_ = Duration::max();
  }
  void on_loss() {
    packets_ = std::min(packets_, kRelayWindowPackets);
    calm_rounds_ = 0;
  }

private:
  void end_round(Instant now) {
    // The shortest of the last one to two periods: a route that has really become longer is believed, since
    // a window that has shrunk shows its round trip without a queue.
    if (now - period_start_ >= kRelayBasePeriod) {
      period_start_ = now;
      last_base_ = base_;
      base_ = Duration::max();
    }
    base_ = std::min(base_, round_rtt_);
    const Duration queue = round_rtt_ - std::min(base_, last_base_);
    ++calm_rounds_;
    if (queue > kRelayQueueDelay) {
      packets_ = std::max(kRelayLeastPackets, packets_ - std::max<std::uint64_t>(1, packets_ / 8));
    } else if (packets_ < kRelayWindowPackets) {
      if (queue < kRelayQueueDelay / 2) ++packets_;
    } else if (calm_rounds_ % kRelayCalmRounds == 0) {
      packets_ = std::min(packets_ + 1, kRelayMaxWindowPackets);
    }
  }

  std::uint64_t packets_ = kRelayWindowPackets;
  std::uint64_t round_end_ = 0;
  std::uint64_t calm_rounds_ = 0;
  Duration round_rtt_ = Duration::max();
  Duration base_ = Duration::max(), last_base_ = Duration::max();  // shortest round trips
  Instant period_start_{};
};

}  // namespace dh::bulk
