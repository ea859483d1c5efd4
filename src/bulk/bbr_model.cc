#include "bulk/bbr_model.hh"

#include <algorithm>

#include "bulk/limits.hh"

namespace dh::bulk {

void MinRtt::update(std::optional<Duration> sample, bool thin, Instant now) {
  if (!has_sample() && !sample) return;
  if (thin && sample && has_sample() && *sample <= min_ + min_ / 16 + kTimerGranularity) probe_stamp_ = now;
  probe_due_ = probe_min_ != Duration::max() && now > probe_stamp_ + kProbeInterval;
  if (sample && (*sample < probe_min_ || probe_due_)) {
    probe_min_ = *sample;
    probe_stamp_ = now;
  }
  if (probe_min_ < min_ || now > stamp_ + kWindow) {
    min_ = probe_min_;
    stamp_ = probe_stamp_;
  }
}

void BbrModel::on_ack(const AckBatch& batch) {
  delivered_ = batch.delivered;
  round_start_ = loss_round_start_ = false;
  round_acked_ += static_cast<double>(batch.acked_bytes);
  sample_ = batch.rate.value_or(RateSample{});
  rate_ = sample_.bytes_per_second();
  if (!batch.rate) return;
  latest_bandwidth_ = std::max(latest_bandwidth_, rate_);
  latest_inflight_ = std::max(latest_inflight_, static_cast<double>(sample_.delivered));
  if (sample_.prior_delivered >= loss_round_delivered_) {
    loss_round_delivered_ = delivered_;
    loss_round_start_ = true;
  }
  if (sample_.prior_delivered >= next_round_delivered_) {
    start_round();
    ++round_;
    round_start_ = true;
  }
  if (rate_ > 0 && (rate_ >= max_bandwidth() || !sample_.app_limited)) max_bandwidth_.update(rate_, cycle_);
}

void BbrModel::update_aggregation(const AckBatch& batch, double window, bool full_once) {
  double expected = bandwidth_ * to_seconds(batch.now - aggregation_start_);
  if (aggregated_ <= expected) {
    aggregated_ = expected = 0;
    aggregation_start_ = batch.now;
  }
  aggregated_ += static_cast<double>(batch.acked_bytes);
  extra_acked_.update(std::clamp(aggregated_ - expected, 0.0, window), round_);
  extra_ = extra_acked_.max(full_once ? kExtraAckedRounds : 1);
}

void BbrModel::finish_ack() {
  if (loss_round_start_) {
    latest_bandwidth_ = rate_;
    latest_inflight_ = static_cast<double>(sample_.delivered);
  }
  bandwidth_ = std::min(max_bandwidth(), short_bandwidth_);
}

void BbrModel::advance_cycle() {
  if (max_bandwidth_.current() <= 0) return;  // nothing measured since: keep what there is
  max_bandwidth_.advance(++cycle_);
}

bool BbrModel::on_loss(double bytes) {
  round_lost_ += bytes;
  const bool first = !loss_in_round_;
  if (first) loss_round_delivered_ = delivered_;
  loss_in_round_ = true;
  return first;
}

double BbrModel::round_loss_ratio() const {
  const double all = round_acked_ + round_lost_;
  return all > 0 ? round_lost_ / all : 0;
}

void BbrModel::end_loss_round() {
  loss_in_round_ = false;
  round_acked_ = round_lost_ = 0;
}

void BbrModel::forget_signals() {
  end_loss_round();
  latest_bandwidth_ = latest_inflight_ = 0;
}

void BbrModel::cut(double window, double bandwidth_factor) {
  if (short_bandwidth_ == kNoBound) short_bandwidth_ = max_bandwidth();
  if (short_inflight_ == kNoBound) short_inflight_ = window;
  short_bandwidth_ = std::max(latest_bandwidth_ * bandwidth_factor, kBeta * short_bandwidth_);
  short_inflight_ = std::max(latest_inflight_, kBeta * short_inflight_);
}

void BbrModel::believe_latest() {
  if (latest_bandwidth_ <= 0) return;
  max_bandwidth_ = {};
  max_bandwidth_.update(latest_bandwidth_, cycle_);
}

void BbrModel::raise_short_term(double bandwidth, double inflight) {
  short_bandwidth_ = std::max(short_bandwidth_, bandwidth);
  short_inflight_ = std::max(short_inflight_, inflight);
}

}  // namespace dh::bulk
