#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bulk/interval_set.hh"
#include "bulk/keys.hh"
#include "bulk/limits.hh"
#include "bulk/loss_detector.hh"
#include "bulk/sent_packets.hh"

namespace dh::bulk {

/// One lane of a path as its sender sees it: packet numbers under keys of their own, so that another thread
/// can seal them, what is remembered of each packet, and which of them are lost. Packets of different lanes
/// may overtake each other, so losses are told within a lane only. Everything that is about the route is the
/// path's: congestion, pacing, the round trip.
struct SenderLane {
  SenderLane(const StreamConfig& config, PathId lane)
      : id(lane), sealer(config, Direction::ToReceiver, lane) {}

  const PathId id;
  PacketSealer sealer;
  SentPackets packets;
  IntervalSet acked_numbers;  // of packets still remembered: an ack repeats what the last one said
  LossDetector loss;
  std::optional<std::uint64_t> largest_acked;
  std::uint64_t oldest_outstanding = 0;  // nothing below it is outstanding
  std::uint64_t since_ack_me = 0;

  /// Calls fn(packet) for each that is outstanding, oldest first, until it says no.
  template <class Fn>
  void for_each_outstanding(Fn&& fn) {
    oldest_outstanding = std::max(oldest_outstanding, packets.begin());
    bool first = true;
    for (std::uint64_t n = oldest_outstanding; n < packets.end(); ++n) {
      SentPacket& packet = packets[n];
      if (packet.state != PacketState::Outstanding) continue;
      if (std::exchange(first, false)) oldest_outstanding = n;
      if (!fn(packet)) return;
    }
  }
};

/// The lanes of one path, and whose turn it is. Packets of the stream go in runs of one lane, as many as
/// leave together; everything else goes on the first one.
class SenderLanes {
public:
  SenderLanes(const StreamConfig& config, PathId first) { add(config, first); }

  void add(const StreamConfig& config, PathId id) {
    lanes_.push_back(std::make_unique<SenderLane>(config, id));
  }
  std::size_t size() const { return lanes_.size(); }
  SenderLane& first() { return *lanes_.front(); }
  const SenderLane& first() const { return *lanes_.front(); }
  SenderLane* find(PathId id) {
    for (auto& lane : lanes_)
      if (lane->id == id) return lane.get();
    return nullptr;
  }
  auto begin() { return lanes_.begin(); }
  auto end() { return lanes_.end(); }
  auto begin() const { return lanes_.begin(); }
  auto end() const { return lanes_.end(); }

  /// For the stream's next packet.
  SenderLane& current() { return *lanes_[turn_]; }
  const SenderLane& current() const { return *lanes_[turn_]; }
  void on_sent() {
    if (++run_ >= kLaneRun) end_run();
  }
  /// Nothing more leaves just now.
  void end_run() {
    if (run_ > 0) turn_ = (turn_ + 1) % lanes_.size();
    run_ = 0;
  }

private:
  std::vector<std::unique_ptr<SenderLane>> lanes_;  // never empty; references stay valid
  std::size_t turn_ = 0, run_ = 0;
};

}  // namespace dh::bulk
