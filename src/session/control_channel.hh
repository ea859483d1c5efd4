#pragma once

// Reliable, ordered, sealed small messages over datagrams that get lost: M3 and M4 of the handshake and all
// control traffic after them. Spec: docs/protocol/control.md.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "base/time.hh"
#include "crypto/aead.hh"
#include "crypto/replay_window.hh"
#include "session/handshake.hh"
#include "wire/control_packet.hh"

namespace dh::session {

struct ControlCounters {
  std::uint64_t packets_sent = 0, packets_received = 0;
  std::uint64_t messages_sent = 0, messages_received = 0;
  std::uint64_t resent = 0;           // messages sent again
  std::uint64_t malformed = 0;        // not a control packet, or not for us
  std::uint64_t forged = 0;           // did not authenticate
  std::uint64_t replayed = 0;         // authentic, but its counter was seen or is too old
  std::uint64_t duplicates = 0;       // a new packet with a message that had already arrived
  std::uint64_t out_of_window = 0;    // a message too far ahead: dropped, the peer sends it again
  std::uint64_t protocol_errors = 0;  // authentic nonsense
};

/// One end of a control channel. Movable, not copyable (a copy would repeat nonces): exactly one per
/// SessionKeys, ever. Pure. Contract: after every input drain poll_packet and poll_message, then sleep until
/// next_timeout. It never gives up by itself: whoever uses it has a limit on waiting_since().
class ControlChannel {
public:
  static constexpr std::size_t kMaxMessage = 1024;  // bytes; header, tag and relay frame still fit 1200
  static constexpr std::size_t kMaxQueued = 64;     // messages unacknowledged, and messages unread
  static constexpr std::size_t kMaxInFlight = 16;   // messages; half of a relay's 32-packet queue
  static constexpr Duration kInitialResend = 300ms;
  static constexpr Duration kMinResend = 50ms;  // above the delayed ack
  static constexpr Duration kMaxResend = 2s;
  static constexpr Duration kAckDelay = 20ms;  // an answer within it carries the ack

  explicit ControlChannel(const SessionKeys& keys);
  ControlChannel(ControlChannel&&) noexcept = default;
  ControlChannel& operator=(ControlChannel&&) noexcept = default;

  // Inputs.
  /// Queues a message of 1..kMaxMessage bytes. false: kMaxQueued are waiting already.
  bool send(Bytes message, Instant now);
  /// True when the packet is authentic and new: the peer is alive and reached us this way.
  bool on_packet(ByteView packet, Instant now);
  /// Deadlines are kept in poll_packet; here for the shape all cores share.
  void on_timeout(Instant) {}
  /// Send everything unacknowledged again now: the path has changed.
  void resend_now(Instant now);

  // Outputs.
  std::optional<Bytes> poll_packet(Instant now);
  std::optional<Bytes> poll_message();  // in the peer's order, each once
  std::optional<Instant> next_timeout() const;

  bool all_acknowledged() const { return outgoing_.empty(); }
  std::size_t unacknowledged() const { return outgoing_.size(); }  // messages
  /// When the oldest unacknowledged message was queued; empty: none.
  std::optional<Instant> waiting_since() const;
  /// Empty before the first sample.
  std::optional<Duration> smoothed_rtt() const { return smoothed_rtt_; }
  std::uint32_t local_index() const { return local_index_; }
  const ControlCounters& counters() const { return counters_; }

private:
  struct Outgoing {
    std::uint32_t seq;
    Bytes message;
    Instant queued;
    std::optional<Instant> sent;  // last time
    std::optional<Instant> due;   // to be sent again
    unsigned transmissions = 0;
    unsigned backoff = 0;       // doublings of the wait; a new acknowledgement of anything clears it
    bool acknowledged = false;  // selectively; leaves the queue with all before it
  };

  void on_acknowledgement(const wire::ControlBody& body, Instant now);
  void on_message(std::uint32_t seq, Bytes message, Instant now);
  void sample_rtt(Duration sample);
  Duration wait_before_resend(const Outgoing& out) const;
  Outgoing* next_to_send(Instant now);
  std::uint64_t received_bits() const;

  std::unique_ptr<Aead> seal_, open_;
  std::uint32_t local_index_, peer_index_;
  std::uint64_t next_counter_ = 0;
  ReplayWindow replay_;

  std::deque<Outgoing> outgoing_;  // by seq, at most kMaxQueued
  std::uint32_t next_seq_ = 1;
  std::map<std::uint32_t, Bytes> early_;  // arrived before an earlier one, at most kMaxQueued
  std::deque<Bytes> ready_;               // in order, not yet polled
  std::uint32_t next_expected_ = 1;

  std::optional<Instant> ack_due_;
  std::optional<Duration> smoothed_rtt_;
  Duration rtt_variation_{};
  Duration resend_after_ = kInitialResend;
  ControlCounters counters_;
};

}  // namespace dh::session
