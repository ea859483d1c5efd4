#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "base/time.hh"

namespace dh::bulk {

/// What a sender that could not send more was waiting for.
enum class HeldBy : std::uint8_t {
  Source,    // whoever writes the stream
  Receiver,  // its reader: the receive limit was reached
  Path,      // the congestion window, the pace, or the last acks
  Limit,     // the rate limit
  Host,      // this machine: there was leave to send and data to send
};
inline constexpr std::size_t kHeldByCount = 5;

/// Adds up how long a sender waited for what. Every moment from the first input counts for exactly one.
class HoldClock {
public:
  /// Something was sent: from here on only this machine is in the way.
  void on_sent(Instant now) { turn_to(HeldBy::Host, std::nullopt, now); }
  /// Nothing could be sent. `until`: when that is known to end; what passes beyond it is this machine's
  /// delay.
  void on_held(HeldBy by, std::optional<Instant> until, Instant now) { turn_to(by, until, now); }
  void stop(Instant now) {
    count(now);
    since_.reset();
    stopped_ = true;
  }

  Duration total(HeldBy by) const { return totals_[static_cast<std::size_t>(by)]; }

private:
  void turn_to(HeldBy by, std::optional<Instant> until, Instant now) {
    if (stopped_) return;
    count(now);
    by_ = by;
    until_ = until;
    since_ = now;
  }
  void count(Instant now) {
    if (!since_) return;
    const Instant waited_until = until_ ? std::clamp(*until_, *since_, now) : now;
    totals_[static_cast<std::size_t>(by_)] += waited_until - *since_;
    totals_[static_cast<std::size_t>(HeldBy::Host)] += now - waited_until;
  }

  std::array<Duration, kHeldByCount> totals_{};
  HeldBy by_ = HeldBy::Source;
  std::optional<Instant> since_, until_;
  bool stopped_ = false;
};

}  // namespace dh::bulk
