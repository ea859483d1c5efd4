#pragma once

#include "bulk/ack_tracker.hh"
#include "bulk/congestion_controller.hh"
#include "bulk/pacer.hh"
#include "bulk/path_channel.hh"
#include "bulk/relay_window.hh"
#include "bulk/send_buffer.hh"
#include "bulk/sender.hh"
#include "bulk/sender_lane.hh"

namespace dh::bulk {

/// Where the FIN stands.
///   Unwritten --finish()--> Pending <--sent / lost--> Sent --ack--> Acked
enum class FinState : std::uint8_t {
  Unwritten,  // more may be written
  Pending,    // to be sent (again) with or after the last byte
  Sent,       // in flight
  Acked,      // the receiver has it
};

/// What the paths of a sender share: the bytes and their end.
struct OutgoingStream {
  explicit OutgoingStream(std::size_t capacity) : buffer(capacity) {}

  void lose_fin() {
    if (fin == FinState::Sent) fin = FinState::Pending;
  }

  SendBuffer buffer;
  FinState fin = FinState::Unwritten;
};

/// One path as the sender sees it: what is in flight on its lanes, when that is lost, and how much more may
/// go.
class SenderPath {
public:
  /// `seed`: of what its controller leaves to chance.
  SenderPath(const StreamConfig& config, PathId id, const PathProperties& properties, OutgoingStream& stream,
             StreamCounters& counters, std::uint64_t seed);

  // Sending.
  enum class Room : std::uint8_t {
    Open,
    Paced,       // wait until pacer_wake()
    WindowFull,  // wait for an ack
  };
  /// For a packet on lanes.current().
  Room room(Instant now);
  Instant pacer_wake() const { return pacer_.wake_at(); }
  /// Ask for an ack with the next packet? Often enough for a window of this size.
  bool wants_ack() const;
  struct Contents {
    std::uint64_t offset = 0;
    std::size_t length = 0;
    bool has_fin = false;
    bool eliciting = false;
    bool ack_me = false;
  };
  /// Every sealed packet of `lane`, in order.
  void on_sent(SenderLane& lane, const Contents& contents, std::size_t wire_bytes, Instant now);
  void on_app_limited(Instant now);

  // Acks.
  enum class AckResult : std::uint8_t {
    Nothing,    // all known already
    Progress,   // something newly acked
    NeverSent,  // the peer acks what we have not sent: it lies
  };
  /// Of packets of `lane`.
  AckResult on_ack(SenderLane& lane, const wire::AckFrame& frame, Instant now);

  // Time.
  void on_timeout(bool preferred, Instant now);
  std::optional<Instant> next_timeout() const;
  /// A probe is due: one packet goes out whatever the window says.
  bool probe_pending() const { return probe_pending_; }
  void request_probe() { probe_pending_ = true; }
  /// All is sent and `last` is how far: repairs the tail early, once.
  void arm_tail(bool finished);
  void disarm_tail() { tail_ = {}; }

  /// No longer preferred: what does not arrive soon is repaired elsewhere.
  void start_handover(Instant now);
  void stop_handover() { handover_at_.reset(); }
  /// Puts everything in flight back into the stream's queue.
  void abandon();
  /// Another route lies behind this path now: nothing learnt about the old one holds (RFC 9000 §9.4). Keys
  /// and packet numbers go on.
  void restart(Duration initial_rtt);
  /// Datagrams of this size from now on; what is in flight is unaffected.
  void set_datagram_bytes(std::size_t bytes);
  /// What the socket at the other end holds: bursts stay below it. 0: not known.
  void set_peer_capacity(std::uint64_t bytes);
  /// What the next packet may have: a probe leaves small, so that it arrives wherever anything does.
  std::size_t next_datagram_bytes() const;
  /// How often only small datagrams arrived, so that this path fell back to kBaseDatagramBytes.
  std::uint64_t black_holes() const { return black_holes_; }
  /// When too long has passed without an ack for what is in flight: the route is probably dead. Empty:
  /// nothing is in flight. `detour`: what an ack may take that comes back by another path.
  std::optional<Instant> stalls_at(Duration detour) const;

  std::uint64_t bytes_in_flight() const { return in_flight_; }
  Sender::PathFigures figures() const;
  unsigned pto_count() const { return pto_count_; }
  const CongestionController& controller() const { return *controller_; }
  PathChannel channel;
  SenderLanes lanes;
  // What the receiver sends: on one lane, always.
  PacketOpener opener;
  AckTracker acks;
  bool usable = true;  // a datagram put on it has somewhere to go

private:
  struct Tail {
    bool armed = false;
    bool duplicated = false, probed = false;
    std::optional<Instant> duplicate_at, probe_at;
  };
  struct Progress {
    AckBatch batch;
    bool any = false;
  };

  void on_packet_acked(SenderLane& lane, std::uint64_t number, std::uint64_t old_largest, Progress& progress);
  void detect_losses(SenderLane& lane, Instant now);
  bool sends_large() const {
    return !channel.properties.is_relay && channel.properties.datagram_bytes > kBaseDatagramBytes;
  }
  std::optional<Instant> hole_check_at() const;
  void put_back(const SentPacket& packet);
  void on_pto(bool preferred, Instant now);
  void repair_tail(Instant now);
  void repeat_oldest();
  void repeat_newest();
  void retire(SenderLane& lane, Instant now);
  std::optional<Instant> pto_at() const;

  OutgoingStream& stream_;
  StreamCounters& counters_;
  std::unique_ptr<CongestionController> make_controller() const;
  Pacer make_pacer() const;
  const Controller kind_;
  const BbrConfig bbr_;
  const std::uint64_t seed_;
  std::unique_ptr<CongestionController> controller_;
  RelayWindow relay_window_;
  std::uint64_t peer_capacity_ = 0;
  Pacer pacer_;
  RateSampler sampler_;
  std::uint64_t in_flight_ = 0, packets_in_flight_ = 0;
  std::uint64_t next_sequence_ = 0;  // of a packet, over all lanes
  double last_rate_ = 0;             // bytes per second
  Instant last_sent_{};              // an ack-eliciting packet
  Instant progress_at_{};            // last new ack, or when the first packet got into flight
  std::uint64_t lost_packets_ = 0;
  bool window_limited_ = false;  // since the stream last had nothing to send
  bool window_full_ = false;     // since the last batch of acks
  bool held_back_ = false;       // the last packet could not leave, for lack of window or of data
  bool proven_ = false;          // something sent since restart() was acknowledged
  // Larger packets up to this one, in the order of sending, are settled: acked, or counted before.
  std::uint64_t large_from_ = 0;
  std::uint64_t large_lost_ = 0;  // since the last of them that was acked
  std::uint64_t black_holes_ = 0;
  bool hole_checked_ = false;  // a small packet was sent since the last progress, to see whether that arrives
  unsigned pto_count_ = 0;
  bool probe_pending_ = false;
  Tail tail_;
  std::optional<Instant> handover_at_;
};

}  // namespace dh::bulk
