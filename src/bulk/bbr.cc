#include "bulk/bbr.hh"

#include <algorithm>
#include <cmath>

#include "bulk/limits.hh"

namespace dh::bulk {
namespace {

constexpr double kStartupGain = 2.77;  // 4 ln 2: the smallest that doubles the rate each round
constexpr double kPacingMargin = 0.99;
constexpr double kHeadroom = 0.15;
constexpr double kWindowGain = 2, kUpWindowGain = 2.25, kProbeRttWindowGain = 0.5;
constexpr double kLossThreshold = 0.02;
constexpr double kFloorWeight = 1.5, kMaxLossThreshold = 0.12;  // E2
constexpr std::uint64_t kFloorRoundPackets = 50;  // E1: a smaller share may be one of many in a short queue
constexpr double kFloorRttFactor = 1.1;           // E1: a longer rtt means that there is a queue
constexpr Duration kFloorRttSlack = 1ms;
constexpr double kReleaseShare = 0.6, kReleaseFloor = 0.004;  // E4
constexpr Duration kQuantumTime = 1ms;
constexpr double kMaxQuantum = 64 * 1024;  // bytes

}  // namespace

const char* to_string(BbrState state) {
  switch (state) {
    case BbrState::Startup:
      return "startup";
    case BbrState::Drain:
      return "drain";
    case BbrState::Down:
      return "down";
    case BbrState::Cruise:
      return "cruise";
    case BbrState::Refill:
      return "refill";
    case BbrState::Up:
      return "up";
    case BbrState::ProbeRtt:
      return "probe-rtt";
  }
  return "?";
}

Bbr::Bbr(const ControllerConfig& config, const BbrConfig& extensions)
    : segment_(static_cast<double>(config.datagram_bytes)),
      initial_window_(segment_ * static_cast<double>(config.initial_packets)),
      extensions_(extensions),
      rng_(config.seed),
      window_(std::max(initial_window_, minimum_window())),
      pacing_rate_(kStartupGain * window_ / to_seconds(std::max<Duration>(config.initial_rtt, 1ms))) {}

double Bbr::pacing_gain() const {
  switch (state_) {
    case BbrState::Startup:
      return kStartupGain;
    case BbrState::Drain:
      return 0.5;
    case BbrState::Down:
      return 0.9;
    case BbrState::Up:
      return 1.25;
    case BbrState::Cruise:
    case BbrState::Refill:
    case BbrState::ProbeRtt:
      return 1;
  }
  return 1;
}

double Bbr::window_gain() const {
  if (state_ == BbrState::Up) return kUpWindowGain;
  return state_ == BbrState::ProbeRtt ? kProbeRttWindowGain : kWindowGain;
}

void Bbr::on_sent(std::uint64_t bytes, std::uint64_t in_flight, Instant now) {
  if (in_flight == 0) {
    if (!started_) model_.restart_aggregation(now);
    started_ = true;
    if (app_limited_until_ != 0) {  // back from idling: no burst, and the silence was no aggregation
      idle_restart_ = true;
      model_.restart_aggregation(now);
      if (cycling()) set_pacing_rate(1);
      if (state_ == BbrState::ProbeRtt) check_probe_rtt_done(now);
    }
  }
  in_flight_ = static_cast<double>(in_flight + bytes);
}

void Bbr::on_ack_batch(const AckBatch& batch) {
  now_ = batch.now;
  in_flight_ = static_cast<double>(batch.in_flight);
  if (app_limited_until_ != 0 && batch.delivered > app_limited_until_) app_limited_until_ = 0;
  if (silent_) {
    silent_ = false;
    absurd_rounds_ = -1;  // all that was in flight may be lost: that was the silence
    restore_window();
  }
  if (batch.rtt_sample && !model_.rtt.has_sample())  // the first pace was a guess
    pacing_rate_ = kStartupGain * initial_window_ / to_seconds(std::max<Duration>(*batch.rtt_sample, 1ms));

  model_.on_ack(batch);
  if (model_.round_start()) {
    ++rounds_since_probe_;
    window_full_before_ = window_full_now_;
    window_full_now_ = false;
  }
  window_full_now_ |= batch.window_full;
  count_floor(batch);
  if (batch.rtt_sample) loss_round_rtt_ = std::min(loss_round_rtt_, *batch.rtt_sample);
  adapt_short_term();
  model_.update_aggregation(batch, window_, full_once_);
  pipe_.update(model_.sample().bytes_per_second(), model_.sample().app_limited, model_.round_start());
  if (pipe_.full()) full_once_ = true;
  check_startup_done();
  check_drain_done();
  update_cycle(batch);
  model_.rtt.update(batch.rtt_sample, model_.sample().app_limited && state_ != BbrState::ProbeRtt, now_);
  check_probe_rtt(now_);
  if (model_.loss_round_start()) loss_events_ = 0;
  model_.finish_ack();

  set_pacing_rate(pacing_gain());
  set_window(static_cast<double>(batch.acked_bytes));
  phase_ = state_ == BbrState::Down                             ? SendPhase::Down
           : state_ == BbrState::Cruise                         ? SendPhase::Cruise
           : state_ == BbrState::ProbeRtt && probe_rtt_done_at_ ? SendPhase::ProbeRtt
                                                                : SendPhase::Other;
}

/// E1: counts what arrives, and reads the floor after rounds that met no queue.
void Bbr::count_floor(const AckBatch& batch) {
  if (!extensions_.loss_floor) return;
  floor_.on_acked(batch.acked_by_phase);
  floor_.on_spurious(batch.spurious_by_phase);
  const bool calm = state_ == BbrState::Cruise || state_ == BbrState::Down || state_ == BbrState::Drain;
  if (model_.round_start()) {
    const Duration limit = model_.rtt.has_sample()
                               ? from_seconds(kFloorRttFactor * to_seconds(model_.rtt.min())) + kFloorRttSlack
                               : Duration::zero();
    if (full_once_ && calm && round_packets_ > kFloorRoundPackets && round_rtt_ < limit) read_floor();
    round_packets_ = 0;
    round_rtt_ = Duration::max();
  }
  round_packets_ += batch.acked_packets;
  if (batch.rtt_sample) round_rtt_ = std::min(round_rtt_, *batch.rtt_sample);
}

void Bbr::read_floor() {
  floor_.update();
  ++counters_.floor_updates;
  if (extensions_.release_bound && long_inflight_ != kNoBound && floor_.ratio() > kReleaseFloor &&
      floor_.ratio() >= kReleaseShare * long_loss_ratio_) {  // E4
    long_inflight_ = kNoBound;
    ++counters_.bounds_released;
  }
}

/// By how much chance moves the share that a path with this floor loses of so many bytes.
double Bbr::floor_deviation(double bytes) const {
  return bytes > 0 ? std::sqrt(floor_.ratio() * floor_.variance_factor() * segment_ / bytes) : 0;
}

double Bbr::loss_threshold() const {
  if (!extensions_.floor_threshold) return kLossThreshold;
  return std::min(kMaxLossThreshold, kLossThreshold + kFloorWeight * floor_.ratio());
}

bool Bbr::inflight_too_high() const {
  const auto in_flight = static_cast<double>(model_.sample().in_flight);
  return static_cast<double>(model_.sample().lost) > in_flight * loss_threshold();
}

void Bbr::on_packet_lost(const LostPacket& packet) {
  const auto bytes = static_cast<double>(packet.bytes);
  if (model_.on_loss(bytes)) begin_loss_episode(packet);
  const bool follows = packet.number == last_lost_ + 1;
  if (loss_events_ == 0 || !follows) ++loss_events_;
  last_lost_ = packet.number;
  ++episode_losses_;
  floor_.on_lost(packet.phase, follows);
  if (!probe_sample_) return;
  const auto lost = static_cast<double>(packet.lost_since_sent);
  const auto in_flight = static_cast<double>(packet.in_flight);
  const double threshold = loss_threshold();
  if (lost <= in_flight * threshold) return;
  // How far into this packet did the losses become too many?
  const double before = in_flight - bytes;
  const double prefix = (threshold * before - (lost - bytes)) / (1 - threshold);
  on_inflight_too_high(std::max(before + prefix, 0.0), lost / in_flight, packet.app_limited);
}

void Bbr::on_lost(const LossBatch& batch) {
  in_flight_ = static_cast<double>(batch.in_flight);
}

void Bbr::begin_loss_episode(const LostPacket& packet) {
  save_window();
  undo_ = {BbrState::ProbeRtt, model_.short_bandwidth(), model_.short_inflight(), long_inflight_};
  episode_losses_ = 0;
  episode_start_ = packet.sent_at;
  if (!recovering_) recovery_round_ = model_.round();
  recovering_ = true;
}

void Bbr::on_spurious(Instant sent_at, Instant now) {
  if (episode_losses_ == 0 || sent_at < episode_start_) return;
  if (--episode_losses_ > 0) return;
  // Every loss of the episode was false: as if it had not happened.
  ++counters_.undone;
  now_ = now;
  restore_window();
  recovering_ = false;
  model_.forget_round_loss();
  pipe_.reset();
  model_.raise_short_term(undo_.short_bandwidth, undo_.short_inflight);
  long_inflight_ = std::max(long_inflight_, undo_.long_inflight);
  if (undo_.state == BbrState::Startup && state_ != BbrState::Startup) {
    full_once_ = false;
    if (state_ != BbrState::ProbeRtt) enter(BbrState::Startup);
  } else if (undo_.state == BbrState::Up && state_ != BbrState::Up && state_ != BbrState::ProbeRtt) {
    start_refill();
  }
  undo_.state = BbrState::ProbeRtt;
}

void Bbr::on_pto(Instant) {
  save_window();
  silent_ = true;
  window_ = std::max(in_flight_ + segment_, minimum_window());
}

void Bbr::set_datagram_bytes(std::size_t bytes) {
  segment_ = static_cast<double>(bytes);
  window_ = std::max(window_, minimum_window());
}

void Bbr::on_app_limited(std::uint64_t in_flight, Instant) {
  in_flight_ = static_cast<double>(in_flight);
  mark_app_limited();
}

void Bbr::mark_app_limited() {
  app_limited_until_ =
      std::max<std::uint64_t>(static_cast<std::uint64_t>(model_.delivered() + in_flight_), 1);
}

double Bbr::send_quantum() const {
  return std::max(std::min(pacing_rate_ * to_seconds(kQuantumTime), kMaxQuantum), 2 * segment_);
}

double Bbr::inflight_at(double gain) const {
  const double bdp = model_.rtt.has_sample() ? gain * model_.bdp() : initial_window_;
  // What the receiver may hold back before it acks: it is asked for an ack every so many packets.
  const double window_packets = window_ / segment_;
  const double every = std::clamp(window_packets / static_cast<double>(kAcksPerWindow),
                                  static_cast<double>(kMinAckSpacing), static_cast<double>(kAckEveryPackets));
  const double delayed = std::min(every * segment_, to_seconds(kMaxAckDelay) * model_.max_bandwidth());
  return std::max({bdp, send_quantum() + delayed, minimum_window()}) +
         (state_ == BbrState::Up ? 2 * segment_ : 0);
}

double Bbr::inflight_with_headroom() const {
  if (long_inflight_ == kNoBound) return kNoBound;
  const double with = long_inflight_ - std::max(segment_, kHeadroom * long_inflight_);
  const double least =
      extensions_.shallow_headroom ? std::min(long_inflight_, model_.bdp() + send_quantum()) : 0;
  return std::max({with, least, minimum_window()});
}

double Bbr::target_inflight() const {
  return std::min(model_.bdp(), window_);
}

double Bbr::probe_rtt_window() const {
  const double bdp = model_.rtt.has_sample() ? kProbeRttWindowGain * model_.bdp() : initial_window_;
  return std::max(bdp, minimum_window());
}

void Bbr::set_pacing_rate(double gain) {
  const double survive = extensions_.goodput_pacing ? 1 - floor_.ratio() : 1;
  const double rate = gain * model_.bandwidth() * kPacingMargin / survive;
  // A segment a second, at least: an estimate of nothing must not stop the stream.
  if (full_once_ || rate > pacing_rate_) pacing_rate_ = std::max(rate, segment_);
}

void Bbr::set_window(double acked) {
  // extra_acked is what bunched acks add to the product of bandwidth and delay.
  const double bdp = model_.rtt.has_sample() ? window_gain() * model_.bdp() : initial_window_;
  const double most = std::max(bdp + model_.extra_acked(), inflight_at(0));
  if (full_once_) {
    window_ = std::min(window_ + acked, most);
  } else if (window_ < most || model_.delivered() < initial_window_) {
    window_ += acked;
  }
  window_ = std::max(window_, minimum_window());
  if (state_ == BbrState::ProbeRtt) window_ = std::min(window_, probe_rtt_window());
  bound_window();
}

void Bbr::bound_window() {
  double cap = kNoBound;
  if (state_ == BbrState::Down || state_ == BbrState::Refill || state_ == BbrState::Up) {
    cap = long_inflight_;
  } else if (state_ == BbrState::Cruise || state_ == BbrState::ProbeRtt) {
    cap = inflight_with_headroom();
  }
  cap = std::max(std::min(cap, model_.short_inflight()), minimum_window());
  window_ = std::min({window_, cap, static_cast<double>(kMaxWindowBytes)});
}

void Bbr::save_window() {
  const bool untouched = !recovering_ && !silent_ && state_ != BbrState::ProbeRtt;
  prior_window_ = untouched ? window_ : std::max(prior_window_, window_);
}

ControllerReport Bbr::report() const {
  return {.name = "bbr",
          .state = to_string(state_),
          .window_bytes = window_bytes(),
          .pacing_rate = pacing_rate_,
          .bandwidth = model_.bandwidth(),
          .min_rtt = model_.rtt.has_sample() ? model_.rtt.min() : Duration::zero(),
          .loss_floor = floor_.ratio(),
          .inflight_bound = long_inflight_,
          .counts = {{"probes", counters_.probes},
                     {"too_high", counters_.too_high},
                     {"rtt_probes", counters_.rtt_probes},
                     {"cuts", counters_.cuts},
                     {"tolerated", counters_.tolerated},
                     {"floor_updates", counters_.floor_updates},
                     {"bounds_released", counters_.bounds_released},
                     {"collapses", counters_.collapses},
                     {"undone", counters_.undone},
                     {"startups_patient", counters_.startups_patient}}};
}

}  // namespace dh::bulk
