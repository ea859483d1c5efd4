// The state machine of BBR. The formulas are in bbr.cc, what is believed about the path in bbr_model.

#include <algorithm>
#include <utility>

#include "bulk/bbr.hh"

namespace dh::bulk {
namespace {

constexpr std::uint64_t kDrainRounds = 3;
constexpr Duration kProbeWait = 2s;            // and up to a second more
constexpr std::uint64_t kMaxProbeRounds = 63;  // or 62: about what Reno needs to fill 25 Mbit/s x 30 ms
constexpr Duration kProbeRttTime = 200ms;
constexpr unsigned kStartupLossEvents = 6;
constexpr double kStartupLoss = 0.02, kStartupHeavyLoss = 0.25;  // the second ends it at once (E6)
constexpr double kStartupQueuedRtt = 1.25;                       // E6: of the shortest
constexpr int kStartupFlatRounds = 2;                            // E6: without growth, before loss may end it
constexpr double kToleratedFactor = 1.5, kToleratedLoss = 0.005, kToleratedDeviations = 2;  // E3
constexpr double kMaxExplainedLoss = 0.03;                      // E4: more than that need not be explained
constexpr double kAbsurdLoss = 0.12, kAbsurdPackets = 10;       // E9 ...
constexpr double kAbsurdDeviations = 3, kMostAbsurdLoss = 0.4;  // ... where losses come in long runs
constexpr int kAbsurdRounds = 2;
constexpr double kBuriedBandwidth = 0.25;  // E9 without loss: of the remembered one,
constexpr int kBuriedRtts = 3;             // while the queue holds two round trips more
constexpr Duration kBuriedQueue = 5ms;     // and this much, which jitter and held acks do not make,
constexpr int kBuriedRounds = 3;           // in so many rounds
constexpr Duration kBuriedMemory = 10s;    // after a round of absurd loss
constexpr double kDownGain = 0.9;

}  // namespace

void Bbr::enter(BbrState state) {
  if (state == BbrState::Up) ++counters_.probes;
  if (state == BbrState::ProbeRtt) ++counters_.rtt_probes;
  state_ = state;
  state_round_ = model_.round();
}

/// Once per round with loss, unless a probe has caused it: slow down towards what still arrives.
void Bbr::adapt_short_term() {
  if (!model_.loss_round_start()) return;
  if (!model_.loss_in_round() && recovering_) {
    recovering_ = false;
    restore_window();
  }
  if (model_.loss_in_round() && !probing()) {
    const double explained = kToleratedFactor * floor_.ratio() + kToleratedLoss +
                             kToleratedDeviations * floor_deviation(model_.round_bytes());
    if (extensions_.loss_floor && extensions_.floor_tolerance && model_.round_loss_ratio() <= explained) {
      ++counters_.tolerated;
    } else {
      // In Down we send a tenth less on purpose, so less arrives (E3).
      const bool slowed = extensions_.floor_tolerance && state_ == BbrState::Down;
      model_.cut(window_, slowed ? 1 / kDownGain : 1);
      ++counters_.cuts;
    }
  }
  ended_round_rtt_ = std::exchange(loss_round_rtt_, Duration::max());
  check_collapse();
  floor_.end_round(model_.round_loss_ratio());
  model_.end_loss_round();
}

/// E9: the bandwidth is remembered over two probes, some five seconds. If it falls to a tenth meanwhile, that
/// memory floods the path again after every cut. Rounds of such loss are no probe's and no floor's doing. Or
/// nothing is lost after the first of them, because what the memory allows just fits the queue: then whole
/// rounds stand in it, and bring a fraction. (Without that first one it may be others who fill a deep queue.)
void Bbr::check_collapse() {
  if (!extensions_.believe_collapse) return;
  const double chance = floor_.ratio() + kAbsurdDeviations * floor_deviation(model_.round_bytes());
  const bool absurd = model_.round_loss_ratio() > std::clamp(chance, kAbsurdLoss, kMostAbsurdLoss) &&
                      model_.round_lost() >= kAbsurdPackets * segment_;
  absurd_rounds_ = absurd && !probing() ? absurd_rounds_ + 1 : std::min(absurd_rounds_, 0);
  if (absurd) absurd_at_ = now_;
  const Duration rtt = ended_round_rtt_;
  const bool buried = full_once_ && absurd_at_ && now_ - *absurd_at_ < kBuriedMemory &&
                      rtt != Duration::max() && !model_.sample().app_limited &&
                      rtt > kBuriedRtts * model_.rtt.min() + kBuriedQueue &&
                      model_.latest_bandwidth() < kBuriedBandwidth * model_.max_bandwidth();
  buried_rounds_ = buried ? buried_rounds_ + 1 : 0;
  if (absurd_rounds_ < kAbsurdRounds && buried_rounds_ < kBuriedRounds) return;
  absurd_rounds_ = buried_rounds_ = 0;
  model_.believe_latest();
  ++counters_.collapses;
}

void Bbr::check_startup_loss() {
  const RateSample& sample = model_.sample();
  const double ratio =
      sample.in_flight > 0 ? static_cast<double>(sample.lost) / static_cast<double>(sample.in_flight) : 0;
  const bool heavy = recovering_ && model_.round() > recovery_round_ && loss_events_ >= kStartupLossEvents &&
                     ratio > kStartupLoss;
  if (!heavy) return;
  // Where no packet of the round has escaped a queue, that is what the losses are.
  const bool queued = ended_round_rtt_ != Duration::max() &&
                      to_seconds(ended_round_rtt_) >
                          kStartupQueuedRtt * to_seconds(model_.rtt.min()) + to_seconds(kBuriedQueue);
  if (extensions_.patient_startup && pipe_.flat_rounds() < kStartupFlatRounds && ratio <= kStartupHeavyLoss &&
      !queued) {
    ++counters_.startups_patient;
    return;
  }
  undo_.state = BbrState::Startup;
  full_once_ = true;
  long_inflight_ = std::max(model_.bdp(), model_.latest_inflight());
  long_loss_ratio_ = std::min(ratio, kMaxExplainedLoss);
}

void Bbr::check_startup_done() {
  if (state_ != BbrState::Startup) return;
  if (model_.loss_round_start()) check_startup_loss();
  if (full_once_) enter(BbrState::Drain);
}

void Bbr::check_drain_done() {
  if (state_ != BbrState::Drain) return;
  if (in_flight_ <= inflight_at(1) || model_.round() > state_round_ + kDrainRounds) start_down(now_);
}

void Bbr::update_cycle(const AckBatch& batch) {
  if (!full_once_ || adapt_long_term(batch)) return;
  switch (state_) {
    case BbrState::Down:
      if (time_to_probe(now_)) {
        start_refill();
      } else if (time_to_cruise()) {
        enter(BbrState::Cruise);
      }
      return;
    case BbrState::Cruise:
      if (time_to_probe(now_)) start_refill();
      return;
    case BbrState::Refill:
      if (model_.round_start()) start_up();
      return;
    case BbrState::Up:
      if (time_to_go_down()) {
        previous_too_high_ = false;  // as far as is known yet
        start_down(now_);
      }
      return;
    case BbrState::Startup:
    case BbrState::Drain:
    case BbrState::ProbeRtt:
      return;
  }
}

/// Follows the acks of a probe and raises the long-term bound while its losses are few. true: it has chosen
/// the next state.
bool Bbr::adapt_long_term(const AckBatch& batch) {
  if (feedback_ == Feedback::Starting && model_.round_start()) feedback_ = Feedback::Running;
  if (feedback_ == Feedback::Stopping && model_.round_start()) {
    probe_sample_ = false;
    feedback_ = Feedback::None;
    if (cycling() && !model_.sample().app_limited) model_.advance_cycle();
    if (cycling() && previous_careful_ && !previous_too_high_) {
      start_refill();  // the short probe was clean: now the whole one
      return true;
    }
  }
  if (inflight_too_high() || long_inflight_ == kNoBound) return false;
  long_inflight_ = std::max(long_inflight_, static_cast<double>(model_.sample().in_flight));
  if (state_ == BbrState::Up) probe_upward(batch);
  return false;
}

/// While the bound is what limits: one packet more in the first round, two in the next, four ...
void Bbr::probe_upward(const AckBatch& batch) {
  const bool limited = window_full_now_ || window_full_before_;
  if (!limited || window_ < long_inflight_) return;
  up_acked_ += static_cast<double>(batch.acked_bytes);
  if (up_acked_ >= up_acked_per_step_) {
    const auto steps = static_cast<double>(static_cast<std::uint64_t>(up_acked_ / up_acked_per_step_));
    up_acked_ -= steps * up_acked_per_step_;
    long_inflight_ += steps * segment_;
  }
  if (model_.round_start()) raise_slope();
}

void Bbr::raise_slope() {
  const double growth = static_cast<double>(std::uint64_t{1} << up_rounds_);
  up_rounds_ = std::min(up_rounds_ + 1, 30u);
  up_acked_per_step_ = std::max(window_ / growth, segment_);
}

void Bbr::on_inflight_too_high(double inflight, double loss_ratio, bool app_limited) {
  ++counters_.too_high;
  previous_too_high_ = true;
  probe_sample_ = false;  // once per probe
  if (!app_limited) {
    long_inflight_ = std::max(inflight, target_inflight() * BbrModel::kBeta);
    long_loss_ratio_ = std::min(loss_ratio, kMaxExplainedLoss);
  }
  if (state_ != BbrState::Up) return;
  undo_.state = BbrState::Up;
  start_down(now_);
}

bool Bbr::time_to_probe(Instant now) {
  if (now > cycle_start_ + probe_wait_) return true;
  const auto rounds = static_cast<std::uint64_t>(target_inflight() / segment_);
  return rounds_since_probe_ >= std::min(rounds, kMaxProbeRounds);
}

bool Bbr::time_to_cruise() const {
  if (extensions_.loss_floor && model_.round() <= state_round_) return false;  // E1: packets to audit with
  return in_flight_ <= inflight_with_headroom() && in_flight_ <= inflight_at(1);
}

bool Bbr::time_to_go_down() {
  if (previous_too_high_ && in_flight_ >= long_inflight_) {
    previous_careful_ = true;
    return true;
  }
  const bool limited = window_full_now_ || window_full_before_;
  if (limited && window_ >= long_inflight_) {
    pipe_.reset(model_.sample().bytes_per_second());  // the bound is why the rate does not grow
    return false;
  }
  return pipe_.full();
}

void Bbr::start_down(Instant now) {
  model_.forget_signals();
  up_acked_per_step_ = kNoBound;
  rounds_since_probe_ = rng_.below(2);
  probe_wait_ = kProbeWait + Duration(rng_.below(static_cast<std::uint64_t>(Duration(1s).count())));
  cycle_start_ = now;
  feedback_ = Feedback::Stopping;
  model_.start_round();
  if (extensions_.loss_floor) floor_.fade();
  enter(BbrState::Down);
}

void Bbr::start_refill() {
  model_.forget_short_term();
  up_rounds_ = 0;
  up_acked_ = 0;
  previous_careful_ = false;
  feedback_ = Feedback::Refilling;
  model_.start_round();
  enter(BbrState::Refill);
}

void Bbr::start_up() {
  probe_sample_ = true;
  feedback_ = Feedback::Starting;
  model_.start_round();
  pipe_.reset(model_.sample().bytes_per_second());
  enter(BbrState::Up);
  raise_slope();
}

void Bbr::check_probe_rtt(Instant now) {
  if (state_ != BbrState::ProbeRtt && model_.rtt.probe_due() && !idle_restart_) {
    save_window();
    enter(BbrState::ProbeRtt);
    probe_rtt_done_at_.reset();
    feedback_ = Feedback::Stopping;
    model_.start_round();
  }
  if (state_ == BbrState::ProbeRtt) {
    mark_app_limited();  // the rates of half a window say nothing
    if (!probe_rtt_done_at_) {
      if (in_flight_ <= probe_rtt_window()) {
        probe_rtt_done_at_ = now + kProbeRttTime;
        probe_rtt_round_done_ = false;
        model_.start_round();
      }
    } else {
      if (model_.round_start()) probe_rtt_round_done_ = true;
      if (probe_rtt_round_done_) check_probe_rtt_done(now);
    }
  }
  if (model_.sample().delivered > 0) idle_restart_ = false;
}

void Bbr::check_probe_rtt_done(Instant now) {
  if (!probe_rtt_done_at_ || now <= *probe_rtt_done_at_) return;
  model_.rtt.on_probed(now);
  probe_rtt_done_at_.reset();
  restore_window();
  model_.forget_short_term();
  if (!full_once_) {
    enter(BbrState::Startup);
    return;
  }
  start_down(now);
  enter(BbrState::Cruise);
}

}  // namespace dh::bulk
