#pragma once

#include "base/rng.hh"
#include "bulk/bbr_config.hh"
#include "bulk/bbr_model.hh"

namespace dh::bulk {

/// What the sender is finding out.
///   Startup --rate stops growing | heavy loss--> Drain --queue gone | 3 rounds--> Down
///   Down --queue gone, headroom left--> Cruise --time to probe--> Refill --1 round--> Up --> Down
///   Down --time to probe, or a careful probe stayed clean--> Refill
///   any --no new smallest rtt for 5 s--> ProbeRtt --200 ms and a round--> Cruise (Startup, before the pipe
///   was ever full)
///   A loss that proves false takes back what it ended: --> Startup, --> Refill
enum class BbrState : std::uint8_t {
  Startup,   // doubles the rate every round
  Drain,     // empties the queue this has built
  Down,      // empties the queue a probe has built
  Cruise,    // at the known rate, with headroom for others
  Refill,    // a full pipe, so that losses of the probe mean something
  Up,        // probes for more
  ProbeRtt,  // half a window, to see the path without a queue
};
const char* to_string(BbrState state);

struct BbrCounters {
  std::uint64_t probes = 0;            // times in Up
  std::uint64_t too_high = 0;          // probes that lost too much
  std::uint64_t rtt_probes = 0;        // times in ProbeRtt
  std::uint64_t cuts = 0;              // rounds whose loss cut the short-term bounds
  std::uint64_t tolerated = 0;         // ... did not, because the floor explains it
  std::uint64_t floor_updates = 0;     // readings of the loss floor
  std::uint64_t bounds_released = 0;   // because the floor explains them
  std::uint64_t collapses = 0;         // the path's bandwidth has fallen and was believed at once
  std::uint64_t undone = 0;            // loss episodes that were false
  std::uint64_t startups_patient = 0;  // rounds in which loss alone would have ended the start
};

/// BBR version 3 (draft-ietf-ccwg-bbr) with our extensions (bbr_config.hh, docs/congestion.md). Windows and
/// bounds are bytes, as doubles.
class Bbr final : public CongestionController {
public:
  Bbr(const ControllerConfig& config, const BbrConfig& extensions);

  void on_sent(std::uint64_t bytes, std::uint64_t in_flight, Instant now) override;
  void on_ack_batch(const AckBatch& batch) override;
  void on_packet_lost(const LostPacket& packet) override;
  void on_lost(const LossBatch& batch) override;
  void on_spurious(Instant sent_at, Instant now) override;
  void on_pto(Instant now) override;
  void on_app_limited(std::uint64_t in_flight, Instant now) override;
  void set_datagram_bytes(std::size_t bytes) override;

  std::uint64_t window_bytes() const override { return static_cast<std::uint64_t>(window_); }
  double pacing_rate() const override { return pacing_rate_; }
  SendPhase phase() const override { return phase_; }
  bool holds_back() const override { return state_ == BbrState::ProbeRtt; }
  ControllerReport report() const override;

  BbrState state() const { return state_; }
  const BbrModel& model() const { return model_; }
  const BbrCounters& counters() const { return counters_; }
  double loss_floor() const { return floor_.ratio(); }
  double inflight_bound() const { return long_inflight_; }  // the long-term one
  double pacing_gain() const;
  double window_gain() const;
  bool full_once() const { return full_once_; }
  Duration probe_wait() const { return probe_wait_; }
  /// What should be in flight at `gain` times the model's bandwidth-delay product.
  double inflight_at(double gain) const;
  double inflight_with_headroom() const;

private:
  // How much was known when losses began; to take their effect back.
  struct Undo {
    BbrState state = BbrState::ProbeRtt;  // Startup, Up: what the losses ended; ProbeRtt: nothing
    double short_bandwidth = 0, short_inflight = 0, long_inflight = 0;
  };
  // What arrives of a probe for bandwidth.
  enum class Feedback : std::uint8_t {
    None,       // no probe
    Refilling,  // one is being prepared
    Starting,   // it has begun, nothing of it is acked yet
    Running,    // acks tell of it
    Stopping,   // it is over, acks still tell of it
  };

  // bbr.cc: what goes out.
  double minimum_window() const { return 4 * segment_; }
  double send_quantum() const;
  double target_inflight() const;
  double probe_rtt_window() const;
  void set_pacing_rate(double gain);
  void set_window(double acked);
  void bound_window();
  void save_window();
  void restore_window() { window_ = std::max(window_, prior_window_); }
  void begin_loss_episode(const LostPacket& packet);
  void count_floor(const AckBatch& batch);
  void read_floor();
  double loss_threshold() const;
  double floor_deviation(double bytes) const;
  bool inflight_too_high() const;

  // bbr_states.cc: what follows from the model.
  void enter(BbrState state);
  void adapt_short_term();
  void check_collapse();
  void check_startup_done();
  void check_startup_loss();
  void check_drain_done();
  void update_cycle(const AckBatch& batch);
  bool adapt_long_term(const AckBatch& batch);
  void probe_upward(const AckBatch& batch);
  void raise_slope();
  void on_inflight_too_high(double inflight, double loss_ratio, bool app_limited);
  bool time_to_probe(Instant now);
  bool time_to_cruise() const;
  bool time_to_go_down();
  void start_down(Instant now);
  void start_refill();
  void start_up();
  void check_probe_rtt(Instant now);
  void check_probe_rtt_done(Instant now);
  void mark_app_limited();
  bool probing() const {
    return state_ == BbrState::Startup || state_ == BbrState::Refill || state_ == BbrState::Up;
  }
  bool cycling() const {
    return state_ == BbrState::Down || state_ == BbrState::Cruise || state_ == BbrState::Refill ||
           state_ == BbrState::Up;
  }

  double segment_;  // bytes of a datagram
  const double initial_window_;
  const BbrConfig extensions_;
  SeededRng rng_;
  BbrState state_ = BbrState::Startup;
  SendPhase phase_ = SendPhase::Other;
  BbrModel model_;
  FullPipe pipe_;
  LossFloor floor_;
  BbrCounters counters_;
  Instant now_{};

  double window_, pacing_rate_, prior_window_ = 0;
  double in_flight_ = 0;
  std::uint64_t app_limited_until_ = 0;  // in delivered bytes; 0: not app-limited
  bool started_ = false, idle_restart_ = false, full_once_ = false;
  bool window_full_now_ = false, window_full_before_ = false;  // in this round, in the last one

  double long_inflight_ = kNoBound, long_loss_ratio_ = 0;  // and the loss that set it
  std::uint64_t state_round_ = 0;                          // round in which the state began
  Feedback feedback_ = Feedback::None;
  bool probe_sample_ = false;  // packets of a probe are in flight and losing them has not been answered yet
  bool previous_too_high_ = false, previous_careful_ = false;
  double up_acked_ = 0, up_acked_per_step_ = kNoBound;
  unsigned up_rounds_ = 0;
  std::uint64_t rounds_since_probe_ = 0;
  Duration probe_wait_{};
  Instant cycle_start_{};
  // Shortest of this loss round, and of the one that has just ended; max(): none.
  Duration loss_round_rtt_ = Duration::max(), ended_round_rtt_ = Duration::max();
  int buried_rounds_ = 0;             // in a row (E9)
  std::optional<Instant> absurd_at_;  // last round of absurd loss (E9)
  std::optional<Instant> probe_rtt_done_at_;
  bool probe_rtt_round_done_ = false;

  int absurd_rounds_ = 0;                     // in a row, with more loss than any path has by itself
  bool recovering_ = false, silent_ = false;  // silent_: a probe timeout has passed without an ack since
  std::uint64_t recovery_round_ = 0;
  unsigned loss_events_ = 0;  // runs of lost packets in this loss round
  std::uint64_t last_lost_ = 0;
  Undo undo_;
  std::uint64_t episode_losses_ = 0;  // packets of the newest episode not yet found to be alive
  Instant episode_start_{};           // when its first packet was sent

  // Of this round, for the loss floor.
  std::uint64_t round_packets_ = 0;
  Duration round_rtt_ = Duration::max();
};

}  // namespace dh::bulk
