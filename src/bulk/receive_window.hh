#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/time.hh"

namespace dh::bulk {

/// How far a sender may run ahead of the reader, in bytes, not counting what waits behind a gap (the sender
/// cannot help that the reader does not get it). `first` and, where more of it is on its way, twice what the
/// path holds at the reader's own rate: as much as congestion control wants to have in flight. The rate is
/// measured over round trips. With `shrinks` it also falls with that rate: for readers that pay for every
/// byte that was acknowledged and not read, since it is lost with their process. A value.
class ReceiveWindow {
public:
  ReceiveWindow(std::uint64_t first, bool shrinks) : first_(first), bytes_(first), shrinks_(shrinks) {}

  std::uint64_t bytes() const { return bytes_; }

  /// The reader has taken `consumed` bytes in all and cannot get at `behind_gap` more. `rtt`: smoothed, of
  /// the path they came by.
  void on_consumed(std::uint64_t consumed, std::uint64_t behind_gap, Duration rtt, Instant now) {
    // What waits for a repair counts as taken: the rate is the reader's, not that of losses and their bursts.
    const std::uint64_t taken = consumed + behind_gap;
    if (!since_) {
      since_ = now;
      from_ = taken;
      return;
    }
    const Duration took = now - *since_;
    if (took < std::max<Duration>(rtt, kShortestRound)) return;
    const double rate = static_cast<double>(taken - std::min(from_, taken)) / to_seconds(took);
    const double gain = rate > kRising * rate_ ? kGainWhileRising : kGain;
    const double steady = std::max(rate, std::exchange(rate_, rate));  // one slow round may be the sender's
    const std::uint64_t wanted = first_ + static_cast<std::uint64_t>(gain * steady * to_seconds(rtt));
    bytes_ = std::max(wanted, shrinks_ ? bytes_ / 2 : bytes_);
    since_ = now;
    from_ = taken;
  }

private:
  static constexpr Duration kShortestRound{1ms};
  static constexpr double kRising = 1.1;
  static constexpr double kGain = 2;
  static constexpr double kGainWhileRising = 3;  // a sender that starts more than doubles its rate in a round

  std::uint64_t first_;
  std::uint64_t bytes_;
  bool shrinks_;
  std::optional<Instant> since_;  // when this round began
  std::uint64_t from_ = 0;        // bytes taken by then
  double rate_ = 0;               // bytes per second in the round before
};

}  // namespace dh::bulk
