#pragma once

#include <algorithm>
#include <limits>

#include "bulk/limits.hh"

namespace dh::bulk {

/// What a person allows a stream to use, over all its paths together. Counts stream bytes that leave,
/// repairs included: it is the uplink that is being spared. Exact over time: a late wake-up is made up
/// within kRateLimitBurst, so in any stretch of time no more leaves than rate x (time + burst) and one
/// packet.
class RateLimit {
public:
  /// `bytes_per_second` 0: no limit.
  explicit RateLimit(std::uint64_t bytes_per_second) : rate_(static_cast<double>(bytes_per_second)) {}

  bool may_send(Instant now) const { return rate_ == 0 || due_ <= now; }
  void on_sent(std::size_t bytes, Instant now) {
    if (rate_ == 0 || bytes == 0) return;
    due_ = std::max(due_, now - kRateLimitBurst) + from_seconds(static_cast<double>(bytes) / rate_);
  }
  /// When may_send() says no: a quantum late, so that one wake-up sends a quantum.
  Instant wake_at() const { return due_ + kPacingQuantum; }
  /// Stream bytes per packet: a relay's large datagrams would come in gusts at a low rate.
  std::size_t packet_bytes() const {
    if (rate_ == 0) return std::numeric_limits<std::size_t>::max();
    return std::max(kRateLimitLeastPacket,
                    static_cast<std::size_t>(rate_ * to_seconds(kRateLimitPacketTime)));
  }

private:
  double rate_;
  Instant due_{};  // when the next packet may leave
};

}  // namespace dh::bulk
