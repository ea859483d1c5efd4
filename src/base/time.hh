#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace dh {

/// A point on our one monotonic clock. This clock type has no now(): cores are told the time.
struct CoreClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<CoreClock>;
  static constexpr bool is_steady = true;
};

using Instant = CoreClock::time_point;
using Duration = CoreClock::duration;

/// Wall time, whole seconds since 1970 UTC: token expiry, certificate dates, cache ages. Handed in like
/// Instant.
using UnixSeconds = std::chrono::sys_seconds;

using namespace std::chrono_literals;

/// The earlier of two optional deadlines; an empty one never wins.
constexpr std::optional<Instant> earlier(std::optional<Instant> a, std::optional<Instant> b) {
  if (!a) return b;
  if (!b) return a;
  return *a < *b ? a : b;
}

constexpr bool is_due(const std::optional<Instant>& deadline, Instant now) {
  return deadline.has_value() && *deadline <= now;
}

constexpr double to_seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
constexpr Duration from_seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

}  // namespace dh
