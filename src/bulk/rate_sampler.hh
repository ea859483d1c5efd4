#pragma once

#include <optional>

#include "bulk/sent_packets.hh"

namespace dh::bulk {

/// What happened between the sending of a packet and its ack, about one round trip.
struct RateSample {
  std::uint64_t delivered = 0;  // bytes
  Duration interval{};
  bool reliable = false;  // the interval is long enough to tell a rate
  bool app_limited = false;
  std::uint64_t lost = 0;             // bytes lost in the interval
  std::uint64_t in_flight = 0;        // bytes, when the sampled packet was sent
  std::uint64_t prior_delivered = 0;  // by then, since the path began

  /// How fast the path delivered; 0: not known.
  double bytes_per_second() const {
    return reliable ? static_cast<double>(delivered) / to_seconds(interval) : 0;
  }
};

/// Delivery rate of one path, after the delivery-rate sampler of the BBR draft: every packet remembers how
/// much had been delivered when it was sent, and an ack compares. One sample per batch of acks, from its
/// newest packet.
class RateSampler {
public:
  /// Fills the packet's copy of the counters. `in_flight`: bytes before this packet.
  void on_sent(SentPacket& packet, std::uint64_t in_flight, Instant now);
  /// `packet` must stay where it is until take(): only the newest of a batch is looked at, and only then.
  void on_acked(const SentPacket& packet, Instant now);
  void on_lost(const SentPacket& packet) { lost_ += packet.wire_bytes; }
  /// After all packets of a batch. Empty when nothing new was acked.
  std::optional<RateSample> take(Duration min_rtt, Instant now);
  /// There was nothing to send although the window had room.
  void on_app_limited(std::uint64_t in_flight) {
    app_limited_until_ = std::max<std::uint64_t>(delivered_ + in_flight, 1);
  }

  std::uint64_t delivered() const { return delivered_; }  // bytes, since the path began
  std::uint64_t lost() const { return lost_; }
  bool is_app_limited() const { return app_limited_until_ != 0; }

private:
  std::uint64_t delivered_ = 0, lost_ = 0;  // bytes
  Instant delivered_at_{}, first_sent_at_{};
  std::uint64_t app_limited_until_ = 0;  // in delivered bytes; 0: not app-limited
  const SentPacket* newest_ = nullptr;   // of this batch
};

}  // namespace dh::bulk
