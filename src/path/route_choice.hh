#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "path/prober.hh"

namespace dh::path {

/// Picks the pair that carries traffic: tier first, then round trip with hysteresis, so that two equal paths
/// never flap. A small value.
class RouteChoice {
public:
  /// The choice among `pairs` now. Keeps the present one unless it no longer works or another is clearly
  /// better.
  const std::optional<Route>& choose(const std::deque<Pair>& pairs, Instant now);
  /// The present one answers pings and does not deliver: a link that loses large packets, or drowns. Where
  /// that happens again and again soon after its choice, it has to wait longer each time (kBarAfterStall).
  void on_stalled(Instant now);
  const std::optional<Route>& current() const { return current_; }
  /// When a pair that had to wait may be chosen again.
  std::optional<Instant> next_timeout(Instant now) const;
  std::uint64_t switches() const { return switches_; }

private:
  struct Bar {
    SocketId socket;
    Endpoint remote;
    std::size_t stalls;  // in a row, each soon after the choice
    Instant until;
  };
  bool is_barred(const Pair& pair, Instant now) const;

  std::vector<Bar> bars_;  // oldest first, at most kMaxPairs
  std::optional<Route> current_;
  Instant switched_at_{};
  std::uint64_t switches_ = 0;
};

}  // namespace dh::path
