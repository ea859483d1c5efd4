#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace dh::bulk {

/// The largest value seen in the last N ticks of some counter (rounds, probing cycles). Exact: it keeps one
/// maximum per tick.
template <std::size_t N>
class WindowedMax {
public:
  /// `tick` never goes back.
  void update(double value, std::uint64_t tick) {
    advance(tick);
    slots_[tick % N] = std::max(slots_[tick % N], value);
  }
  void advance(std::uint64_t tick) {
    for (std::uint64_t steps = std::min<std::uint64_t>(tick - tick_, N); steps > 0; --steps)
      slots_[(tick - steps + 1) % N] = 0;
    tick_ = tick;
  }
  /// Over the last `ticks` ticks, the current one included; 0 when there was none.
  double max(std::size_t ticks = N) const {
    double largest = 0;
    for (std::uint64_t back = 0; back < std::min(ticks, N) && back <= tick_; ++back)
      largest = std::max(largest, slots_[(tick_ - back) % N]);
    return largest;
  }
  /// Of the current tick alone.
  double current() const { return slots_[tick_ % N]; }

private:
  std::array<double, N> slots_{};
  std::uint64_t tick_ = 0;
};

}  // namespace dh::bulk
