#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hh"

namespace dh::derp {

/// So many units a second, so many at once. Exact: levels are integers, so a wait that was promised suffices.
/// A value; starts full.
class TokenBucket {
public:
  /// Rates and bursts beyond this limit nothing and keep the arithmetic within 64 bits.
  static constexpr std::uint64_t kMax = 8'000'000'000;

  TokenBucket(std::uint64_t per_second, std::uint64_t burst, Instant now)
      : per_second_(std::min(per_second, kMax)),
        full_(std::min(burst, kMax) * kNano),
        level_(full_),
        refilled_at_(now) {}

  /// Takes `cost` units if they are there.
  bool take(std::uint64_t cost, Instant now) {
    refill(now);
    if (cost > kMax || cost * kNano > level_) return false;
    level_ -= cost * kNano;
    return true;
  }

  /// How long until `cost` units will be there; Duration::max() when the bucket can never hold them.
  Duration wait_for(std::uint64_t cost, Instant now) {
    refill(now);
    if (cost > kMax || cost * kNano > full_) return Duration::max();
    if (cost * kNano <= level_) return Duration::zero();
    if (per_second_ == 0) return Duration::max();
    const std::uint64_t missing = cost * kNano - level_;
    return Duration(static_cast<std::int64_t>((missing + per_second_ - 1) / per_second_));
  }

private:
  static constexpr std::uint64_t kNano = 1'000'000'000;  // levels count billionths: rate x nanoseconds

  void refill(Instant now) {
    if (now <= refilled_at_) return;
    const auto elapsed_ns = static_cast<std::uint64_t>((now - refilled_at_).count());
    refilled_at_ = now;
    if (per_second_ == 0) return;
    const std::uint64_t missing = full_ - level_;
    level_ =
        elapsed_ns >= missing / per_second_ + 1 ? full_ : std::min(full_, level_ + elapsed_ns * per_second_);
  }

  std::uint64_t per_second_;
  std::uint64_t full_;   // burst, in billionths
  std::uint64_t level_;  // in billionths
  Instant refilled_at_;
};

}  // namespace dh::derp
