#include "bulk/cubic.hh"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bulk/limits.hh"

namespace dh::bulk {
namespace {

// RFC 9438 §4, §5.
constexpr double kC = 0.4;  // segments per cubic second
constexpr double kBeta = 0.7;
constexpr double kRenoAlpha = 3 * (1 - kBeta) / (1 + kBeta);
// A paced window is spent over less than a round trip, so that the window stays what limits.
constexpr double kSlowStartPacing = 2, kAvoidancePacing = 1.25;

}  // namespace

Cubic::Cubic(const ControllerConfig& config)
    : segment_(static_cast<double>(config.datagram_bytes)), rtt_(config.initial_rtt) {
  state_.window = segment_ * static_cast<double>(config.initial_packets);
  state_.threshold = std::numeric_limits<double>::infinity();
}

double Cubic::minimum() const {
  return segment_ * static_cast<double>(kMinWindowPackets);
}

void Cubic::set_datagram_bytes(std::size_t bytes) {
  segment_ = static_cast<double>(bytes);
  state_.window = std::max(state_.window, minimum());
  state_.epoch.reset();  // its curve counts in segments
}

void Cubic::on_sent(std::uint64_t, std::uint64_t in_flight, Instant now) {
  // After idling, time must not have made the window grow: shift the epoch's clock (RFC 9438 §5.8).
  if (in_flight == 0 && state_.epoch)
    state_.epoch = std::max(*state_.epoch, now - from_seconds(state_.k_seconds));
}

void Cubic::on_ack_batch(const AckBatch& batch) {
  if (batch.rtt_sample) {
    rtt_ = batch.smoothed_rtt;
    if (in_slow_start()) {
      hystart_.on_ack(*batch.rtt_sample, batch.largest_acked, batch.next_number);
      if (hystart_.state() == HyStart::State::Done) state_.threshold = state_.window;
    }
  }
  if (!batch.window_limited) return;
  if (in_slow_start()) {
    state_.window += static_cast<double>(hystart_.growth(batch.acked_bytes));
  } else {
    grow(batch);
  }
  state_.window = std::min(state_.window, static_cast<double>(kMaxWindowBytes));
}

void Cubic::grow(const AckBatch& batch) {
  State& s = state_;
  if (!s.epoch) {
    s.epoch = batch.now;
    s.start_window = s.reno_window = s.window;
    s.max_window = std::max(s.max_window, s.window);
    s.k_seconds = std::cbrt((s.max_window - s.window) / segment_ / kC);
  }
  const auto at = [&](double seconds) {
    const double t = seconds - s.k_seconds;
    return kC * t * t * t * segment_ + s.max_window;
  };
  const double elapsed = to_seconds(batch.now - *s.epoch);
  const double acked_segments = static_cast<double>(batch.acked_bytes) / segment_;
  // §4.3: never worse than Reno would be; above the old maximum Reno's own slope.
  const double alpha = s.reno_window >= s.max_window ? 1 : kRenoAlpha;
  s.reno_window += alpha * segment_ * acked_segments * segment_ / s.window;
  if (at(elapsed) < s.reno_window) {
    s.window = std::max(s.window, s.reno_window);
    return;
  }
  const double target = std::clamp(at(elapsed + to_seconds(rtt_)), s.window, 1.5 * s.window);
  s.window += (target - s.window) / s.window * segment_ * acked_segments;
}

void Cubic::on_lost(const LossBatch& batch) {
  if (recovery_start_ && batch.newest_sent_at <= *recovery_start_) {
    event_losses_ += batch.lost_packets;
    return;
  }
  before_loss_ = state_;
  event_losses_ = batch.lost_packets;
  recovery_start_ = batch.now;
  hystart_.finish();
  State& s = state_;
  // §4.7: fast convergence leaves room to whoever came later.
  s.max_window = s.window < s.max_window ? s.window * (1 + kBeta) / 2 : s.window;
  s.window = std::max(s.window * kBeta, minimum());
  s.threshold = s.window;
  s.epoch.reset();
}

void Cubic::on_spurious(Instant sent_at, Instant) {
  if (!recovery_start_ || sent_at > *recovery_start_ || event_losses_ == 0) return;
  if (--event_losses_ > 0) return;
  // Every loss of the event was false: as if it had not happened (§4.9.1).
  if (before_loss_.window > state_.window) state_ = before_loss_;
  recovery_start_.reset();
}

double Cubic::pacing_rate() const {
  return (in_slow_start() ? kSlowStartPacing : kAvoidancePacing) * state_.window /
         std::max(to_seconds(rtt_), 1e-6);
}

ControllerReport Cubic::report() const {
  return {.name = "cubic",
          .state = in_slow_start() ? "slow start" : "avoidance",
          .window_bytes = window_bytes(),
          .pacing_rate = pacing_rate(),
          .inflight_bound = state_.threshold};
}

}  // namespace dh::bulk
