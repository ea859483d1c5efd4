#include "bulk/ledbat.hh"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dh::bulk {
namespace {

constexpr double kAvoidancePacing = 1.25;  // as Cubic: the window stays what limits
constexpr double kLeastGain = 1.0 / 16;    // of Reno's
constexpr double kMostDecrease = 0.5;      // of the window, per round trip
constexpr double kSlowStartTarget = 0.75;  // of the target
constexpr int kPauseRtts = 2;
constexpr int kPauseSpacing = 9;   // times the last pause: a tenth of the time at most
constexpr int kTargetRegain = 16;  // with each pause; some minutes from 20 ms back to 60

}  // namespace

const char* to_string(Ledbat::State state) {
  switch (state) {
    case Ledbat::State::SlowStart:
      return "slow start";
    case Ledbat::State::Avoidance:
      return "avoidance";
    case Ledbat::State::Pause:
      return "pause";
    case Ledbat::State::RampUp:
      return "ramp up";
  }
  return "?";
}

Ledbat::Ledbat(const ControllerConfig& config)
    : segment_(static_cast<double>(config.datagram_bytes)), window_(minimum()), rtt_(config.initial_rtt) {}

void Ledbat::set_datagram_bytes(std::size_t bytes) {
  segment_ = static_cast<double>(bytes);
  window_ = std::max(window_, minimum());
}

double Ledbat::minimum() const {
  return segment_ * static_cast<double>(kMinWindowPackets);
}

/// Slower than Reno where the base delay is short: the queue of one target is many round trips there.
double Ledbat::gain() const {
  const double base = to_seconds(history_.base());
  return std::max(1 / std::ceil(std::max(2 * to_seconds(kLedbatTarget) / base, 1.0)), kLeastGain);
}

void Ledbat::on_ack_batch(const AckBatch& batch) {
  rtt_ = batch.smoothed_rtt;
  if (batch.rtt_sample) {
    history_.on_sample(*batch.rtt_sample, batch.now);
    peak_ = std::max(peak_, *batch.rtt_sample - history_.base());
  }
  if (history_.base() == Duration::max()) return;
  if (batch.largest_acked >= round_end_) {
    last_peak_ = std::exchange(peak_, Duration::zero());
    cut_this_round_ = false;
    round_end_ = batch.next_number;
    history_.on_round(window_ <= 2 * minimum(), batch.now);
  }
  const auto acked = static_cast<double>(batch.acked_bytes);
  switch (state_) {
    case State::SlowStart:
      if (history_.queue() > from_seconds(kSlowStartTarget * to_seconds(target_))) {
        leave_slow_start(batch.now);
      } else if (batch.window_limited) {
        window_ += gain() * acked;
      }
      break;
    case State::Avoidance:
      // A stream that leaves the window unused shows the base delay by itself.
      if (is_due(next_pause_, batch.now) && batch.window_limited) {
        start_pause(batch.now);
      } else if (batch.window_limited || history_.queue() > target_) {
        steer(acked);
      }
      break;
    case State::Pause:
      if (batch.now - pause_began_ >= kPauseRtts * rtt_) state_ = State::RampUp;
      break;
    case State::RampUp:
      window_ += gain() * acked;
      if (window_ >= window_before_ || history_.queue() > target_) {
        window_ = std::min(window_, window_before_);
        end_pause(batch.now);
      }
      break;
  }
  window_ = std::clamp(window_, minimum(), static_cast<double>(kMaxWindowBytes));
}

void Ledbat::steer(double acked_bytes) {
  const double rounds = std::min(acked_bytes / window_, 1.0);
  const double excess = to_seconds(history_.queue()) / to_seconds(target_) - 1;
  double change = gain() * segment_;          // per round trip
  if (excess > 0 && cut_this_round_) return;  // what is seen is the queue of before
  if (excess > 0) change = std::max(change - window_ * excess, -kMostDecrease * window_);
  window_ += change * rounds;
}

void Ledbat::leave_slow_start(Instant now) {
  state_ = State::Avoidance;
  next_pause_ = now + kPauseRtts * rtt_;
}

void Ledbat::start_pause(Instant now) {
  state_ = State::Pause;
  pause_began_ = now;
  window_before_ = window_;
  window_ = minimum();
}

void Ledbat::end_pause(Instant now) {
  state_ = State::Avoidance;
  next_pause_ = now + kPauseSpacing * (now - pause_began_);
  target_ = std::min<Duration>(target_ + target_ / kTargetRegain, kLedbatTarget);
}

void Ledbat::on_lost(const LossBatch& batch) {
  if (recovery_start_ && batch.newest_sent_at <= *recovery_start_) {
    event_losses_ += batch.lost_packets;
    return;
  }
  recovery_start_ = batch.now;
  event_losses_ = batch.lost_packets;
  lower_target();
  if (state_ == State::Pause) {  // sent before it
    window_before_loss_ = window_before_;
    window_before_ = std::max(window_before_ / 2, minimum());
    return;
  }
  window_before_loss_ = window_;
  window_ = std::max(window_ / 2, minimum());
  cut_this_round_ = true;
  if (state_ == State::SlowStart) leave_slow_start(batch.now);
  if (state_ == State::RampUp) end_pause(batch.now);
}

/// A queue that overflows below the target would be filled like anybody else does: half of it must do.
void Ledbat::lower_target() {
  const Duration peak = std::max(peak_, last_peak_);
  if (peak >= 2 * kLedbatLeastTarget) target_ = std::min(target_, peak / 2);
}

void Ledbat::on_spurious(Instant sent_at, Instant) {
  if (!recovery_start_ || sent_at > *recovery_start_ || event_losses_ == 0) return;
  if (--event_losses_ > 0) return;
  recovery_start_.reset();
  double& window = state_ == State::Pause ? window_before_ : window_;
  if (state_ != State::RampUp) window = std::max(window, window_before_loss_);
}

double Ledbat::pacing_rate() const {
  const bool grows = state_ == State::SlowStart || state_ == State::RampUp;
  // No faster than it grows: a queue made by bursts would look like somebody else's.
  const double factor = grows ? std::max(kAvoidancePacing, 1 + gain()) : kAvoidancePacing;
  return factor * window_ / std::max(to_seconds(rtt_), 1e-6);
}

ControllerReport Ledbat::report() const {
  return {.name = "ledbat",
          .state = to_string(state_),
          .window_bytes = window_bytes(),
          .pacing_rate = pacing_rate(),
          .min_rtt = history_.base() == Duration::max() ? Duration::zero() : history_.base()};
}

}  // namespace dh::bulk
