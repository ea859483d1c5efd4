#pragma once

#include "bulk/congestion_controller.hh"
#include "bulk/hystart.hh"

namespace dh::bulk {

/// CUBIC (RFC 9438) with HyStart++ (RFC 9406) and undo of false losses.
class Cubic final : public CongestionController {
public:
  explicit Cubic(const ControllerConfig& config);

  void on_sent(std::uint64_t bytes, std::uint64_t in_flight, Instant now) override;
  void on_ack_batch(const AckBatch& batch) override;
  void on_lost(const LossBatch& batch) override;
  void on_spurious(Instant sent_at, Instant now) override;
  void on_pto(Instant) override {
  }  // a silent path is probed packet by packet; its window is kept for the return
  void on_app_limited(std::uint64_t, Instant) override {}
  void set_datagram_bytes(std::size_t bytes) override;

  std::uint64_t window_bytes() const override { return static_cast<std::uint64_t>(state_.window); }
  double pacing_rate() const override;
  ControllerReport report() const override;

  bool in_slow_start() const { return state_.window < state_.threshold; }

private:
  // What a congestion event changes; kept aside to undo it. Windows in bytes.
  struct State {
    double window = 0;
    double threshold = 0;     // slow start below it
    double max_window = 0;    // W_max
    double start_window = 0;  // at the beginning of this epoch
    double reno_window = 0;   // W_est, what Reno would have
    double k_seconds = 0;     // from the epoch's start back to W_max
    std::optional<Instant> epoch;
  };
  void grow(const AckBatch& batch);
  double minimum() const;

  double segment_;
  Duration rtt_;
  State state_;
  State before_loss_;
  HyStart hystart_;
  std::optional<Instant> recovery_start_;  // losses of packets sent before belong to the same event
  std::uint64_t event_losses_ = 0;         // packets of the newest event not yet found to be alive
};

}  // namespace dh::bulk
