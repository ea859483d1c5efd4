#pragma once

#include <memory>
#include <optional>

#include "bulk/rate_sampler.hh"

namespace dh::bulk {

/// What one batch of acks brought.
struct AckBatch {
  Instant now{};
  std::uint64_t acked_bytes = 0, acked_packets = 0;
  std::uint64_t in_flight_before = 0;  // bytes, before these acks
  std::uint64_t in_flight = 0;         // bytes, after
  std::uint64_t largest_acked = 0;     // packet number
  std::uint64_t next_number = 0;       // packet number that would be sent next: rounds are counted with it
  std::optional<Duration> rtt_sample;
  Duration smoothed_rtt{}, min_rtt{};
  std::optional<RateSample> rate;
  bool window_limited = false;  // the window held the sender back since the last batch
};

/// Packets declared lost together.
struct LossBatch {
  Instant now{};
  std::uint64_t lost_bytes = 0, lost_packets = 0;
  std::uint64_t in_flight = 0;  // bytes, after
  Instant newest_sent_at{};     // when the newest of them was sent
};

/// Decides how much may be in flight on one path and how fast it leaves. Pure; one per path, never shared.
class CongestionController {
public:
  virtual ~CongestionController() = default;

  virtual void on_sent(std::uint64_t bytes, std::uint64_t in_flight, Instant now) = 0;
  virtual void on_ack_batch(const AckBatch& batch) = 0;
  virtual void on_lost(const LossBatch& batch) = 0;
  /// A packet sent at `sent_at` was declared lost and has now been acked.
  virtual void on_spurious(Instant sent_at, Instant now) = 0;
  virtual void on_pto(Instant now) = 0;
  virtual void on_app_limited(std::uint64_t in_flight, Instant now) = 0;

  virtual std::uint64_t window_bytes() const = 0;
  virtual double pacing_rate() const = 0;  // bytes per second; 0: do not pace
};

struct ControllerConfig {
  std::size_t datagram_bytes = 1200;
  std::uint64_t initial_packets = 32;
  Duration initial_rtt = 100ms;
};

}  // namespace dh::bulk
