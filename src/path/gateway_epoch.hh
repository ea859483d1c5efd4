#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/time.hh"

namespace dh::path {

/// Follows the clock a gateway puts into its answers: seconds since it last lost its mappings. A clock that
/// does not advance like ours tells that it has lost them again.
class GatewayEpoch {
public:
  using Seconds = std::chrono::duration<std::uint32_t>;

  /// RFC 6886 §3.6: an epoch below the previous one plus 7/8 of the time since, less 2 s.
  bool restarted_by_nat_pmp(Seconds epoch, Instant now) {
    if (const auto last = exchange(epoch, now)) {
      const Duration expected = last->epoch + (now - last->at) / 8 * 7 - 2s;
      return Duration(epoch) < expected;
    }
    return false;
  }

  /// RFC 6887 §8.5: more than a second back, or a rate that differs from ours by over 1/16 and 2 s.
  bool restarted_by_pcp(Seconds epoch, Instant now) {
    if (const auto last = exchange(epoch, now)) {
      if (Duration(epoch) + 1s < Duration(last->epoch)) return true;
      const Duration ours = now - last->at;
      const Duration theirs = Duration(epoch) - Duration(last->epoch);
      return ours + 2s < theirs - theirs / 16 || theirs + 2s < ours - ours / 16;
    }
    return false;
  }

  std::optional<Seconds> last() const { return last_ ? std::optional<Seconds>(last_->epoch) : std::nullopt; }
  void forget() { last_.reset(); }

private:
  struct Sample {
    Seconds epoch;
    Instant at;
  };
  std::optional<Sample> exchange(Seconds epoch, Instant now) {
    return std::exchange(last_, Sample{epoch, now});
  }

  std::optional<Sample> last_;
};

}  // namespace dh::path
