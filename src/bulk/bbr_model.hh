#pragma once

#include <limits>

#include "bulk/congestion_controller.hh"
#include "bulk/windowed_max.hh"

namespace dh::bulk {

inline constexpr double kNoBound = std::numeric_limits<double>::infinity();

/// The smallest round-trip time, on two clocks: what the next look at an empty queue is due by, and the
/// longer window of the model itself. A value.
class MinRtt {
public:
  static constexpr Duration kProbeInterval = 5s, kWindow = 10s;

  /// `thin`: the stream, not the path, was the limit when this was sent. Near the smallest it shows then what
  /// a probe would: no queue. Halving the window would only take from a stream that is slow by itself.
  void update(std::optional<Duration> sample, bool thin, Instant now);
  bool has_sample() const { return min_ != Duration::max(); }
  Duration min() const { return min_; }
  /// No smaller sample for kProbeInterval.
  bool probe_due() const { return probe_due_; }
  void on_probed(Instant now) { probe_stamp_ = now; }

private:
  Duration min_ = Duration::max(), probe_min_ = Duration::max();
  Instant stamp_{}, probe_stamp_{};
  bool probe_due_ = false;
};

/// Has the rate stopped growing? Three rounds with less than a quarter more. A value.
class FullPipe {
public:
  static constexpr double kGrowth = 1.25;
  static constexpr int kRounds = 3;

  /// Forgets all but the baseline.
  void reset(double baseline = 0) {
    baseline_ = baseline;
    flat_rounds_ = 0;
    full_ = false;
  }
  void update(double rate, bool app_limited, bool round_start) {
    if (full_ || app_limited) return;
    if (rate >= baseline_ * kGrowth && rate > 0) return reset(rate);
    if (round_start && ++flat_rounds_ >= kRounds) full_ = true;
  }
  bool full() const { return full_; }
  int flat_rounds() const { return flat_rounds_; }

private:
  double baseline_ = 0;  // bytes per second
  int flat_rounds_ = 0;
  bool full_ = false;
};

/// What BBR believes about the path: rounds, bandwidth, round-trip time, how bunched acks are, and the bounds
/// that recent loss has put on all that. Knows nothing of states. Bytes and bytes per second are doubles, so
/// that "no bound" is infinity.
class BbrModel {
public:
  static constexpr double kBeta = 0.7;         // a cut takes no more than this leaves
  static constexpr std::size_t kBwCycles = 2;  // the bandwidth of this probing cycle and the one before
  static constexpr std::size_t kExtraAckedRounds = 10;

  // Rounds. One ends when a packet sent after its beginning is acked.
  void start_round() { next_round_delivered_ = delivered_; }
  bool round_start() const { return round_start_; }
  std::uint64_t round() const { return round_; }

  /// First for every batch: rounds, the latest signals, the bandwidth.
  void on_ack(const AckBatch& batch);
  /// Excess of what was acked over what the bandwidth explains. `window`: bytes.
  void update_aggregation(const AckBatch& batch, double window, bool full_once);
  void restart_aggregation(Instant now) { aggregation_start_ = now; }
  /// Last for every batch.
  void finish_ack();
  /// The probing cycle is over: the oldest bandwidth may be forgotten.
  void advance_cycle();

  // Loss. on_loss: true for the first of a round.
  bool on_loss(double bytes);
  bool loss_round_start() const { return loss_round_start_; }
  bool loss_in_round() const { return loss_in_round_; }
  double round_lost() const { return round_lost_; }  // bytes
  double round_bytes() const { return round_acked_ + round_lost_; }
  double round_loss_ratio() const;  // of the loss round that has just ended
  void end_loss_round();
  void forget_signals();
  void forget_round_loss() { loss_in_round_ = false; }
  void cut(double window, double bandwidth_factor);
  /// Forgets every bandwidth but the best of this loss round.
  void believe_latest();
  void forget_short_term() { short_bandwidth_ = short_inflight_ = kNoBound; }
  void raise_short_term(double bandwidth, double inflight);

  double max_bandwidth() const { return max_bandwidth_.max(); }
  double bandwidth() const { return bandwidth_; }
  double short_bandwidth() const { return short_bandwidth_; }
  double short_inflight() const { return short_inflight_; }
  double latest_bandwidth() const { return latest_bandwidth_; }  // best of this loss round
  double latest_inflight() const { return latest_inflight_; }
  double extra_acked() const { return extra_; }
  /// Bandwidth x smallest rtt; 0 while either is not known.
  double bdp() const { return rtt.has_sample() ? bandwidth_ * to_seconds(rtt.min()) : 0; }
  double delivered() const { return static_cast<double>(delivered_); }
  const RateSample& sample() const { return sample_; }

  MinRtt rtt;

private:
  RateSample sample_;  // newest
  double rate_ = 0;    // its bytes per second
  std::uint64_t delivered_ = 0, next_round_delivered_ = 0, round_ = 0, cycle_ = 0;
  bool round_start_ = false;

  WindowedMax<kBwCycles> max_bandwidth_;
  double bandwidth_ = 0;

  WindowedMax<kExtraAckedRounds> extra_acked_;
  double extra_ = 0, aggregated_ = 0;
  Instant aggregation_start_{};

  double latest_bandwidth_ = 0, latest_inflight_ = 0;  // largest of this loss round
  std::uint64_t loss_round_delivered_ = 0;
  bool loss_round_start_ = false, loss_in_round_ = false;
  double round_acked_ = 0, round_lost_ = 0;  // bytes of this loss round
  double short_bandwidth_ = kNoBound, short_inflight_ = kNoBound;
};

}  // namespace dh::bulk
