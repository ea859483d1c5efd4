#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hh"

namespace dh::bulk {

/// HyStart++ (RFC 9406): leaves slow start when the round-trip time grows, before packets are lost.
///   SlowStart --rtt grew--> Conservative --5 rounds--> Done
///       ^------rtt fell again------|
class HyStart {
public:
  enum class State : std::uint8_t {
    SlowStart,     // the window doubles every round
    Conservative,  // grows a quarter as fast; was the rise real?
    Done,          // slow start is over
  };

  State state() const { return state_; }
  /// Window growth for acked bytes.
  std::uint64_t growth(std::uint64_t acked_bytes) const {
    return state_ == State::Conservative ? acked_bytes / kGrowthDivisor : acked_bytes;
  }
  void on_ack(Duration rtt, std::uint64_t largest_acked, std::uint64_t next_number) {
    if (state_ == State::Done) return;
    current_min_ = std::min(current_min_, rtt);
    ++samples_;
    if (samples_ >= kSamples && last_min_ != Duration::max()) {
      if (state_ == State::SlowStart) {
        const Duration threshold = std::clamp<Duration>(last_min_ / 8, kMinThreshold, kMaxThreshold);
        if (current_min_ >= last_min_ + threshold) {
          state_ = State::Conservative;
          baseline_min_ = current_min_;
          rounds_ = 0;
        }
      } else if (current_min_ < baseline_min_) {
        state_ = State::SlowStart;
      }
    }
    if (largest_acked >= round_end_) {
      if (state_ == State::Conservative && ++rounds_ > kRounds) state_ = State::Done;
      round_end_ = next_number;
      last_min_ = current_min_;
      current_min_ = Duration::max();
      samples_ = 0;
    }
  }
  void finish() { state_ = State::Done; }

private:
  static constexpr Duration kMinThreshold = 4ms, kMaxThreshold = 16ms;
  static constexpr int kSamples = 8, kRounds = 5;
  static constexpr std::uint64_t kGrowthDivisor = 4;

  State state_ = State::SlowStart;
  std::uint64_t round_end_ = 0;
  Duration last_min_ = Duration::max(), current_min_ = Duration::max(), baseline_min_ = Duration::max();
  int samples_ = 0, rounds_ = 0;
};

}  // namespace dh::bulk
