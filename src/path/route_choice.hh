#pragma once

#include <deque>
#include <optional>

#include "path/prober.hh"

namespace dh::path {

/// Picks the pair that carries traffic: tier first, then round trip with hysteresis, so that two equal paths
/// never flap. A small value.
class RouteChoice {
public:
  /// The choice among `pairs` that carry() now. Keeps the present one unless it no longer works or another is
  /// clearly better.
  const std::optional<Route>& choose(const std::deque<Pair>& pairs, Instant now);
  /// The present route took traffic and did not deliver it. Once is bad luck: it is chosen again as soon as
  /// it answers. When it happens again soon after, its address rests for a while, each time twice as long,
  /// whatever it answers: probes pass where the traffic does not, for example where something counts packets.
  void on_stalled(Instant now, Duration least_rest = {});
  void forget_stalls() { stalls_.clear(); }
  /// When a pair that works, but rests, may be chosen again.
  std::optional<Instant> next_timeout() const { return rests_until_; }
  const std::optional<Route>& current() const { return current_; }
  std::uint64_t switches() const { return switches_; }

private:
  struct Stall {
    IpAddress address;
    Duration pause{};
    Instant until{};
  };
  std::optional<Instant> rests_until(const Pair& pair, Instant now) const;

  std::deque<Stall> stalls_;  // at most kMaxStalls
  std::optional<Instant> rests_until_;
  std::optional<Route> current_;
  Instant switched_at_{};
  std::uint64_t switches_ = 0;
};

}  // namespace dh::path
