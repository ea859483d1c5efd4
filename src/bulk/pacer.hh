#pragma once

#include <algorithm>

#include "bulk/limits.hh"

namespace dh::bulk {

/// Spreads packets over time by absolute deadlines. Time missed (a busy machine, a late timer) may be made up
/// within a credit, but no faster than kCatchUpFactor times the rate, so a stall ends neither in lost rate
/// nor in a line-rate burst.
class Pacer {
public:
  /// `most_credit`: how much missed time may be made up at most.
  explicit Pacer(Duration most_credit = kMaxPacingCredit) : most_credit_(most_credit) {}

  /// No more than this leaves in one burst, however much time was missed.
  /// 0: no limit.
  void limit_burst(std::uint64_t bytes) { burst_bytes_ = static_cast<double>(bytes); }

  bool may_send(Instant now) const { return due_ <= now && burst_due_ <= now; }

  /// `rate`: bytes per second; 0: no pacing.
  void on_sent(std::size_t bytes, double rate, Duration rtt, Instant now) {
    if (rate <= 0) {
      due_ = burst_due_ = now;
      return;
    }
    quantum_ = kPacingQuantum;
    Duration credit =
        std::min(std::clamp<Duration>(rtt / 2, kMinPacingCredit, kMaxPacingCredit), most_credit_);
    if (burst_bytes_ > 0) {
      const Duration burst = from_seconds(burst_bytes_ / rate);
      quantum_ = std::min(quantum_, burst);
      credit = std::min(credit, burst);
    }
    const Duration time = from_seconds(static_cast<double>(bytes) / rate);
    due_ = std::max(due_, now - credit) + time;
    burst_due_ = std::max(burst_due_, now - quantum_) + from_seconds(to_seconds(time) / kCatchUpFactor);
  }

  /// Until now something else held the sender back: that time was not missed and earns no credit.
  void on_held_back(Instant now) {
    due_ = std::max(due_, now - quantum_);
    burst_due_ = std::max(burst_due_, now - quantum_);
  }

  /// When to wake up if may_send() says no: a quantum late, so that one wake-up sends a quantum; the credit
  /// makes it up.
  Instant wake_at() const { return std::max(due_, burst_due_) + quantum_; }

private:
  Duration most_credit_;
  double burst_bytes_ = 0;  // 0: whatever the time allows
  Duration quantum_ = kPacingQuantum;
  Instant due_{};        // when the next packet may leave at the rate itself
  Instant burst_due_{};  // ... and at the catch-up rate
};

}  // namespace dh::bulk
