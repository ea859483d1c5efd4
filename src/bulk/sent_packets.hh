#pragma once

#include <cstdint>
#include <vector>

#include "base/check.hh"
#include "base/time.hh"
#include "bulk/loss_floor.hh"

namespace dh::bulk {

/// Where one sent packet stands.
///   Outstanding --ack--> Acked
///   Outstanding --lost--> Lost --late ack--> Acked (spurious)
///   Outstanding --given to another path--> Abandoned --late ack--> Acked
///   Untracked: carried nothing that wants an answer (a bare ack)
enum class PacketState : std::uint8_t {
  Untracked,
  Outstanding,
  Acked,
  Lost,
  Abandoned,
};

/// What the sender remembers of one packet until it is settled.
struct SentPacket {
  Instant sent_at{};
  std::uint64_t sequence = 0;    // counts the packets of all lanes of the path
  std::uint64_t offset = 0;      // stream bytes it carried ...
  std::uint32_t length = 0;      // ... possibly none
  std::uint32_t wire_bytes = 0;  // what it counts for in flight
  PacketState state = PacketState::Untracked;
  bool has_fin = false;
  SendPhase phase = SendPhase::Other;  // of the controller, when it left

  // Copied by the rate sampler when it was sent (rate_sampler.hh).
  bool app_limited = false;
  std::uint64_t delivered = 0;
  Instant delivered_at{};
  Instant first_sent_at{};
  std::uint64_t lost = 0;
  std::uint64_t in_flight = 0;  // with this packet
};

/// Sent packets by number in a power-of-two ring: constant time, no allocation once it has grown to the
/// window.
class SentPackets {
public:
  std::uint64_t begin() const { return begin_; }  // oldest number still remembered
  std::uint64_t end() const { return end_; }      // next number
  bool contains(std::uint64_t number) const { return number >= begin_ && number < end_; }
  std::size_t size() const { return static_cast<std::size_t>(end_ - begin_); }
  SentPacket& operator[](std::uint64_t number) {
    DCHECK(contains(number));
    return ring_[static_cast<std::size_t>(number) & (ring_.size() - 1)];
  }

  /// The record of the next number.
  SentPacket& push() {
    if (size() == ring_.size()) grow();
    ++end_;
    return (*this)[end_ - 1] = SentPacket{};
  }
  /// Forgets the oldest.
  void pop() { ++begin_; }

private:
  void grow() {
    std::vector<SentPacket> bigger(ring_.empty() ? 64 : ring_.size() * 2);
    for (std::uint64_t n = begin_; n < end_; ++n)
      bigger[static_cast<std::size_t>(n) & (bigger.size() - 1)] = (*this)[n];
    ring_ = std::move(bigger);
  }

  std::vector<SentPacket> ring_;
  std::uint64_t begin_ = 0, end_ = 0;
};

}  // namespace dh::bulk
