#pragma once

#include <algorithm>
#include <cstdint>

#include "bulk/limits.hh"

namespace dh::bulk {

/// Datagrams that may be in flight through a relay. The relay keeps a short queue per destination and drops
/// its oldest entry when that is full, so a bound below the queue's length can lose nothing there. The bound
/// creeps up while rounds stay clean and falls back with the first loss.
class RelayWindow {
public:
  std::uint64_t packets() const { return packets_; }
  void on_ack(std::uint64_t largest_acked, std::uint64_t next_number) {
    if (largest_acked < round_end_) return;
    round_end_ = next_number;
    if (++calm_rounds_ % kRelayCalmRounds == 0) packets_ = std::min(packets_ + 1, kRelayMaxWindowPackets);
  }
  void on_loss() {
    packets_ = kRelayWindowPackets;
    calm_rounds_ = 0;
  }

private:
  std::uint64_t packets_ = kRelayWindowPackets;
  std::uint64_t round_end_ = 0;
  std::uint64_t calm_rounds_ = 0;
};

}  // namespace dh::bulk
