#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "bulk/limits.hh"

namespace dh::bulk {

/// What a path's round trip is without a queue, and how long the queue is now (RFC 6817 §2.2): the base is
/// the shortest of the last ten minutes, the present the shortest of the last four samples. A route that has
/// become longer looks like a queue. But unlike a queue that others keep full, it does not move while we
/// hold back: a round trip that has kept still for long enough then is believed to be the base.
class DelayHistory {
public:
  DelayHistory() {
    recent_.fill(Duration::max());
    minutes_.fill(Duration::max());
  }

  void on_sample(Duration rtt, Instant now) {
    recent_[next_recent_++ % recent_.size()] = rtt;
    if (now - minute_start_ >= kLedbatHistoryStep) {
      std::shift_right(minutes_.begin(), minutes_.end(), 1);
      minutes_[0] = Duration::max();
      minute_start_ = now;
    }
    minutes_[0] = std::min(minutes_[0], rtt);
    base_ = *std::min_element(minutes_.begin(), minutes_.end());
    round_min_ = std::min(round_min_, rtt);
  }

  /// At the end of each round trip. `held_back`: its window was too small to make a queue.
  void on_round(bool held_back, Instant now) {
    const Duration rtt = std::exchange(round_min_, Duration::max());
    if (rtt == Duration::max()) return;
    const Duration low = std::min(still_low_, rtt), high = std::max(still_high_, rtt);
    if (!held_back || still_low_ == Duration::max() ||
        high - low > std::max<Duration>(kLedbatStillness, low / 64)) {
      still_since_ = now;
      still_low_ = held_back ? rtt : Duration::max();
      still_high_ = held_back ? rtt : Duration::zero();
      return;
    }
    still_low_ = low;
    still_high_ = high;
    if (now - still_since_ < kLedbatStillTime) return;
    minutes_.fill(Duration::max());
    minutes_[0] = base_ = still_low_;
    minute_start_ = still_since_ = now;
  }

  /// Duration::max(): nothing measured.
  Duration base() const { return base_; }
  Duration queue() const { return *std::min_element(recent_.begin(), recent_.end()) - base_; }

private:
  std::array<Duration, kLedbatNoiseFilter> recent_;
  std::size_t next_recent_ = 0;
  std::array<Duration, kLedbatHistorySteps> minutes_;  // shortest of each, the present one first
  Instant minute_start_{};
  Duration base_ = Duration::max();
  Duration round_min_ = Duration::max();
  // While held back: since when the round trip has kept still, and between what. Low max(): not at all.
  Instant still_since_{};
  Duration still_low_ = Duration::max(), still_high_{};
};

}  // namespace dh::bulk
