#pragma once

#include "bulk/congestion_controller.hh"
#include "bulk/delay_history.hh"

namespace dh::bulk {

/// A scavenger: takes what nobody else wants, and gets out of the way when somebody does. LEDBAT (RFC 6817)
/// with what LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) changed: round trips instead of one-way delays, a
/// gain below Reno's, multiplicative decrease above the target, and regular pauses in which the queue it has
/// built itself is gone, so that the base delay shows. docs/congestion.md, "Polite".
///
///   SlowStart --3/4 of the target, or loss--> Avoidance --after 2 rtt, then 9 x the last pause--> Pause
///                                                 ^                                                |
///                                                 +---window of before, target, or loss--- RampUp <-- 2 rtt
class Ledbat final : public CongestionController {
public:
  explicit Ledbat(const ControllerConfig& config);

  void on_sent(std::uint64_t, std::uint64_t, Instant) override {}
  void on_ack_batch(const AckBatch& batch) override;
  void on_lost(const LossBatch& batch) override;
  void on_spurious(Instant sent_at, Instant now) override;
  void on_pto(Instant) override {}  // probed packet by packet; the window is kept for the return
  void on_app_limited(std::uint64_t, Instant) override {}
  void set_datagram_bytes(std::size_t bytes) override;

  std::uint64_t window_bytes() const override { return static_cast<std::uint64_t>(window_); }
  double pacing_rate() const override;
  ControllerReport report() const override;

  enum class State : std::uint8_t {
    SlowStart,  // the first one: grows until a queue shows
    Avoidance,  // steers the queue towards the target
    Pause,      // two packets for two round trips: what is left of the queue then is not ours
    RampUp,     // back to the window of before
  };
  State state() const { return state_; }
  Duration base_delay() const { return history_.base(); }

private:
  void start_pause(Instant now);
  void leave_slow_start(Instant now);
  void end_pause(Instant now);
  void steer(double acked_bytes);
  void lower_target();
  double gain() const;
  double minimum() const;

  double segment_;
  State state_ = State::SlowStart;
  double window_;             // bytes
  double window_before_ = 0;  // Pause, RampUp: what to return to
  Duration rtt_;
  DelayHistory history_;
  Duration target_ = kLedbatTarget;  // of queue; lower where the buffer is too short for it
  Duration peak_{}, last_peak_{};    // longest queue of this round and of the last one
  bool cut_this_round_ = false;      // by a loss
  std::uint64_t round_end_ = 0;      // packet number
  Instant pause_began_{};
  std::optional<Instant> next_pause_;
  std::optional<Instant> recovery_start_;  // losses of packets sent before belong to the same event
  double window_before_loss_ = 0;
  std::uint64_t event_losses_ = 0;  // packets of the newest event not yet found to be alive
};

const char* to_string(Ledbat::State state);

}  // namespace dh::bulk
