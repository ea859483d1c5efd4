#pragma once

#include <optional>

#include "bulk/sent_packets.hh"

namespace dh::bulk {

/// How fast the path delivered, measured over about one round trip.
struct RateSample {
  std::uint64_t delivered = 0;  // bytes
  Duration interval{};
  bool app_limited = false;
  std::uint64_t lost = 0;       // bytes lost in the interval
  std::uint64_t in_flight = 0;  // bytes, when the sampled packet was sent
  std::uint64_t prior_delivered = 0;

  double bytes_per_second() const { return static_cast<double>(delivered) / to_seconds(interval); }
};

/// Delivery rate of one path, after the delivery-rate sampler of the BBR draft: every packet remembers how
/// much had been delivered when it was sent, and an ack compares. One sample per batch of acks, from its
/// newest packet.
class RateSampler {
public:
  /// Fills the packet's copy of the counters. `in_flight`: bytes before this packet.
  void on_sent(SentPacket& packet, std::uint64_t in_flight, Instant now);
  void on_acked(const SentPacket& packet, Instant now);
  void on_lost(const SentPacket& packet) { lost_ += packet.wire_bytes; }
  /// After all packets of a batch. Empty when nothing new was acked or the interval is too short to mean
  /// anything.
  std::optional<RateSample> take(Duration min_rtt, Instant now);
  /// There was nothing to send although the window had room.
  void on_app_limited(std::uint64_t in_flight) {
    app_limited_until_ = std::max<std::uint64_t>(delivered_ + in_flight, 1);
  }

  std::uint64_t delivered() const { return delivered_; }
  bool is_app_limited() const { return app_limited_until_ != 0; }

private:
  std::uint64_t delivered_ = 0, lost_ = 0;  // bytes
  Instant delivered_at_{}, first_sent_at_{};
  std::uint64_t app_limited_until_ = 0;  // in delivered bytes; 0: not app-limited
  std::optional<SentPacket> newest_;     // newest packet of this batch
};

}  // namespace dh::bulk
