#pragma once

#include "derp/packet_queue.hh"
#include "derp/server_core.hh"

namespace dh::derp {

inline constexpr std::size_t kBatchBytes = 64u << 10;  // one write: large enough to amortise a system call
inline constexpr std::size_t kMaxControlBytes = 64u << 10;      // notices a slow client may have waiting
inline constexpr std::size_t kMaxMeshControlBytes = 16u << 20;  // the flood of 300 000 peers to a watcher

/// What one client is to be sent, in the order of its stream. While the socket takes everything, frames are
/// appended straight to the staging buffer, which becomes the next batch. While a batch is being written,
/// control frames wait in one buffer and packets in two drop-oldest queues, disco apart from data so that
/// neither starves the other; they are staged when the batch is done: control first, then both in turn.
///
///   Idle --push--> Staged --take--> InFlight --written, nothing waits--> Idle
///                    ^                  |
///                    +--written, staged-+
class ServerOutput {
public:
  ServerOutput(BufferPool& pool, ServerCounters& counters, std::size_t queue_packets)
      : pool_(pool), counters_(counters), data_(pool, queue_packets), disco_(pool, queue_packets) {}
  ServerOutput(const ServerOutput&) = delete;
  ServerOutput& operator=(const ServerOutput&) = delete;

  void push_packet(const PublicKey& from, ByteView packet, bool disco);
  /// Queues a control frame. false: dropped, more than max_bytes of them wait already.
  template <typename Frame>
  bool push_control(const Frame& frame, std::size_t max_bytes = kMaxControlBytes) {
    Bytes* target = control_target(max_bytes);
    if (!target) return false;
    Writer w(*target);
    frame.serialize(w);
    return true;
  }

  /// A batch may be taken.
  bool is_ready() const { return !in_flight_ && !staging_.empty(); }
  bool in_flight() const { return in_flight_; }
  /// Only when is_ready(): swaps the staged bytes into `batch`.
  void take(Bytes& batch);
  /// The batch taken last is written: stages what waits.
  void written();
  /// Drops everything; returns the packets that waited.
  std::size_t clear();
  std::size_t waiting_packets() const { return data_.size() + disco_.size(); }

private:
  Bytes* control_target(std::size_t max_bytes);
  void stage();
  bool stage_front(PacketQueue& queue);
  void open_staging();
  void count_sent(std::size_t packet_bytes);

  BufferPool& pool_;
  ServerCounters& counters_;
  Bytes staging_;
  Bytes control_;
  std::size_t control_begin_ = 0;
  PacketQueue data_;
  PacketQueue disco_;
  bool in_flight_ = false;
  bool disco_next_ = true;
};

}  // namespace dh::derp
