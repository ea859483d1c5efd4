#pragma once

#include <deque>
#include <optional>

#include "path/prober.hh"

namespace dh::path {

/// Picks the pair that carries traffic: tier first, then round trip with hysteresis, so that two equal paths
/// never flap. A small value.
class RouteChoice {
public:
  /// The choice among `pairs` now. Keeps the present one unless it no longer works or another is clearly
  /// better.
  const std::optional<Route>& choose(const std::deque<Pair>& pairs, Instant now);
  const std::optional<Route>& current() const { return current_; }
  std::uint64_t switches() const { return switches_; }

private:
  std::optional<Route> current_;
  Instant switched_at_{};
  std::uint64_t switches_ = 0;
};

}  // namespace dh::path
