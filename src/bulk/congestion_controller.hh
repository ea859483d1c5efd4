#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bulk/loss_floor.hh"
#include "bulk/rate_sampler.hh"

namespace dh::bulk {

/// What one batch of acks brought.
struct AckBatch {
  Instant now{};
  std::uint64_t acked_bytes = 0, acked_packets = 0;
  std::uint64_t in_flight_before = 0;  // bytes, before these acks
  std::uint64_t in_flight = 0;         // bytes, after
  // In the order of sending, over all lanes of the path: rounds are counted with them.
  std::uint64_t largest_acked = 0;
  std::uint64_t next_number = 0;  // of the packet that would be sent next
  std::optional<Duration> rtt_sample;
  Duration smoothed_rtt{}, min_rtt{};
  std::optional<RateSample> rate;
  bool window_limited = false;  // the window, not the stream, is what has held the sender back lately
  bool window_full = false;     // it did so since the last batch
  std::uint64_t delivered = 0;  // bytes acked since the path began
  PhaseCounts acked_by_phase{}, spurious_by_phase{};  // packets, by what the controller did when they left
};

/// One packet declared lost.
struct LostPacket {
  std::uint64_t number = 0, bytes = 0;
  Instant sent_at{};
  std::uint64_t in_flight = 0;        // bytes, with it, when it was sent
  std::uint64_t lost_since_sent = 0;  // bytes, itself included
  bool app_limited = false;
  SendPhase phase = SendPhase::Other;
};

/// Packets declared lost together.
struct LossBatch {
  Instant now{};
  std::uint64_t lost_bytes = 0, lost_packets = 0;
  std::uint64_t in_flight = 0;  // bytes, after
  Instant newest_sent_at{};     // when the newest of them was sent
};

/// A look inside, for people: `derphole` shows it, tests and benches read it.
struct ControllerReport {
  const char* name = "";
  const char* state = "";
  std::uint64_t window_bytes = 0;
  double pacing_rate = 0, bandwidth = 0;  // bytes per second; bandwidth 0: no model
  Duration min_rtt{};
  double loss_floor = 0;      // share of packets
  double inflight_bound = 0;  // bytes; infinity: none
  /// What it has done so far, by name.
  std::vector<std::pair<const char*, std::uint64_t>> counts{};
};

/// Decides how much may be in flight on one path and how fast it leaves. Pure; one per path, never shared.
class CongestionController {
public:
  virtual ~CongestionController() = default;

  virtual void on_sent(std::uint64_t bytes, std::uint64_t in_flight, Instant now) = 0;
  virtual void on_ack_batch(const AckBatch& batch) = 0;
  /// Each packet of a batch, oldest first, before on_lost() tells of all.
  virtual void on_packet_lost(const LostPacket&) {}
  virtual void on_lost(const LossBatch& batch) = 0;
  /// A packet sent at `sent_at` was declared lost and has now been acked.
  virtual void on_spurious(Instant sent_at, Instant now) = 0;
  virtual void on_pto(Instant now) = 0;
  virtual void on_app_limited(std::uint64_t in_flight, Instant now) = 0;
  /// Datagrams of another size from now on. The window stays the same in bytes (RFC 8899 §3), but for its
  /// least.
  virtual void set_datagram_bytes(std::size_t bytes) = 0;

  virtual std::uint64_t window_bytes() const = 0;
  virtual double pacing_rate() const = 0;  // bytes per second; 0: do not pace
  /// What is stored with packets sent now.
  virtual SendPhase phase() const { return SendPhase::Other; }
  /// The rate is held down on purpose: what is delivered says nothing about the path.
  virtual bool holds_back() const { return false; }
  virtual ControllerReport report() const = 0;
};

struct ControllerConfig {
  std::size_t datagram_bytes = 1200;
  std::uint64_t initial_packets = 32;
  Duration initial_rtt = 100ms;
  std::uint64_t seed = 0;  // of whatever it leaves to chance
};

}  // namespace dh::bulk
