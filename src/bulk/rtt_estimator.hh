#pragma once

#include <algorithm>
#include <optional>

#include "base/time.hh"
#include "bulk/limits.hh"

namespace dh::bulk {

/// Round-trip time of one path (RFC 9002 §5). A value.
class RttEstimator {
public:
  explicit RttEstimator(Duration initial)
      : smoothed_(std::clamp<Duration>(initial, kMinInitialRtt, kMaxInitialRtt)), variation_(smoothed_ / 2) {}

  /// `sample`: from sending to the ack; `ack_delay`: what the peer says it held the ack back. A host that
  /// slept or was frozen hands in a burst of absurd samples when it wakes; they measure the nap, not the
  /// path, and are left out.
  void update(Duration sample, Duration ack_delay, Instant now) {
    sample = std::max<Duration>(sample, 1us);
    if (is_nap(sample, now)) return;
    latest_ = sample;
    if (!has_sample_) {
      has_sample_ = true;
      min_ = smoothed_ = sample;
      variation_ = sample / 2;
      return;
    }
    min_ = std::min(min_, sample);
    ack_delay = std::min(ack_delay, kMaxAckDelay);
    if (sample >= min_ + ack_delay) sample -= ack_delay;  // never below what was seen to be possible
    variation_ = (3 * variation_ + std::max(smoothed_ - sample, sample - smoothed_)) / 4;
    smoothed_ = (7 * smoothed_ + sample) / 8;
  }

  bool has_sample() const { return has_sample_; }
  Duration smoothed() const { return smoothed_; }
  Duration latest() const { return has_sample_ ? latest_ : smoothed_; }
  Duration min() const { return has_sample_ ? min_ : smoothed_; }
  Duration variation() const { return variation_; }

  /// Probe timeout without backoff.
  Duration pto() const {
    return smoothed_ + std::max<Duration>(4 * variation_, kTimerGranularity) + kMaxAckDelay;
  }
  /// With `count` timeouts in a row: doubled each time, but a dead path is still probed every second.
  Duration pto_after(unsigned count) const {
    const Duration backed_off = pto() * (1 << std::min(count, 16u));
    return std::max(pto(), std::min<Duration>(backed_off, kMaxPtoBackoff));
  }

private:
  bool is_nap(Duration sample, Instant now) {
    if (sample > kMaxRttSample) return true;
    if (!has_sample_ || sample <= kNapFactor * (smoothed_ + 4 * variation_) + kNapFloor) {
      nap_since_.reset();
      return false;
    }
    if (!nap_since_) nap_since_ = now;
    return now - *nap_since_ < kNapMemory;  // longer than that, it is the path that has changed
  }

  bool has_sample_ = false;
  std::optional<Instant> nap_since_;
  Duration smoothed_;
  Duration variation_;
  Duration latest_{};
  Duration min_{};
};

}  // namespace dh::bulk
