#pragma once

#include <optional>

#include "bulk/limits.hh"
#include "wire/bulk_packet.hh"

namespace dh::bulk {

/// What has arrived on one path and when to say so. Keeps the newest kMaxAckRanges ranges until the sender is
/// known to have them: every range is in many acks, so one lost ack costs nothing, and a flood of holes costs
/// no memory.
class AckTracker {
public:
  /// Call once per authentic, fresh packet. `eliciting`: it wants an answer. `ack_me`: at once.
  void on_packet(std::uint64_t number, bool eliciting, bool ack_me, Duration rtt, Instant now);
  void on_duplicate_data() { ++duplicates_; }

  bool has_packets() const { return count_ > 0; }
  bool is_due(Instant now) const { return dh::is_due(due_, now); }
  std::optional<Instant> due() const { return due_; }
  /// Ask for an ack now although no packet did (a window update).
  void demand(Instant now) { due_ = now; }

  /// Fills all but path and limit, and clears the timer. Only when has_packets().
  void take(wire::AckFrame& frame, Instant now);
  std::size_t range_count() const { return count_; }
  /// The sender has the ack that said all up to `number` (RFC 9000 §13.2.4): older ranges need no repeating.
  void on_ack_acked(std::uint64_t number);

private:
  void insert(std::uint64_t number);

  // Ascending: the newest range is last, where almost every packet lands.
  std::array<wire::PacketRange, kMaxAckRanges> ranges_{};
  std::size_t count_ = 0;
  Instant largest_at_{};  // arrival of the newest packet
  std::optional<Instant> due_;
  std::uint64_t waiting_ = 0;  // eliciting packets since the last ack
  std::optional<Instant> last_gap_ack_;
  std::uint32_t received_ = 0, duplicates_ = 0;
};

}  // namespace dh::bulk
