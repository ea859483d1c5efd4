#pragma once

// What the two halves of a bulk stream share: configuration, path description, events, errors.
// Spec: docs/protocol/bulk.md.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/time.hh"
#include "bulk/bbr_config.hh"
#include "crypto/aead.hh"

namespace dh::bulk {

/// A way to the peer, numbered by the session: every path has its own packet numbers, keys and congestion
/// state. 0..63; a number is never reused in a session.
using PathId = std::uint8_t;

struct PathProperties {
  std::size_t datagram_bytes = 1200;  // largest datagram the path carries, header and tag included
  bool is_relay = false;         // lossy 32-packet queue in the middle (docs/protocol/bulk.md, "Relay paths")
  Duration initial_rtt = 100ms;  // measured by whoever validated the path
};

/// Which congestion controller a sender uses on direct paths. Through relays it is CUBIC in a small window,
/// or LEDBAT in the same window when that is chosen.
enum class Controller : std::uint8_t {
  Cubic,   // fills the queue it finds, backs off at every loss
  Bbr,     // a model of the path (docs/congestion.md)
  Ledbat,  // takes what others leave
};

/// Keys and limits both ends agreed on in the handshake.
struct StreamConfig {
  Secret<64> secret;  // exported by the handshake for this stream; label "bulk"
  AeadKind aead = AeadKind::Aes256Gcm;
  std::uint32_t peer_connection_id = 0;     // put into every datagram we send
  std::uint64_t receive_window = 8u << 20;  // bytes the receiver is ready to buffer ahead of its reader ...
  std::uint64_t most_receive_window = 256u << 20;  // ... and may be, on a long, fast or lossy path
  /// Receiver: what is acknowledged and not read is a loss when the process dies; see receive_window.hh.
  bool receive_window_shrinks = false;
  // Bytes the sender keeps until they are acknowledged (SendBuffer). Few at first: they should still be in
  // the cache when they leave.
  std::size_t send_buffer = 1u << 20;
  std::size_t most_send_buffer = 256u << 20;  // what it may grow to, for a long and fast path
  /// Small packets per key, a large one counting kLargePacketWeight; 0: kKeyUpdatePacketsSmall.
  std::uint64_t key_update_packets = 0;
  std::uint64_t rate_limit = 0;  // sender: stream bytes per second over all paths; 0: none
  Controller controller = Controller::Bbr;
  BbrConfig bbr;  // with Controller::Bbr
};

/// Why a stream was aborted, by either side. The number goes on the wire.
enum class AbortCode : std::uint16_t {
  Cancelled = 1,       // the person pressed Ctrl-C
  ReadFailed = 2,      // the sender's source failed
  WriteFailed = 3,     // the receiver's sink failed (disk full, pipe closed)
  DigestMismatch = 4,  // what arrived is not what was sent
  ProtocolError = 5,   // authenticated nonsense
  Internal = 6,
  Declined = 7,  // the receiver does not want it: a person said no, or it may not be put there
};

struct StreamAborted {
  AbortCode code;
  std::string reason;  // the peer's words, at most 200 bytes: printable() before showing
  bool by_peer;
};
/// Sender: the receiver has confirmed the whole stream. Receiver: the sender knows; nothing is left to do.
struct StreamComplete {
  std::uint64_t bytes;
};
/// Receiver: the last byte may be read and the digest is right; call confirm() once it is safe with its
/// reader.
struct StreamEnded {
  std::uint64_t bytes;
};
using StreamEvent = std::variant<StreamAborted, StreamEnded, StreamComplete>;

struct Transmit {
  PathId path;
  std::size_t size;  // bytes written to the buffer given to poll_transmit
};

struct StreamCounters {
  std::uint64_t packets_sent = 0, packets_received = 0, bytes_on_wire_sent = 0, bytes_on_wire_received = 0;
  std::uint64_t stream_bytes = 0;  // sender: confirmed by the receiver; receiver: delivered in order
  std::uint64_t resent_bytes = 0, packets_lost = 0, spurious_losses = 0, probe_timeouts = 0;
  std::uint64_t loss_checks = 0;  // records that loss detection looked at
  std::uint64_t forged = 0;       // did not authenticate
  std::uint64_t replayed = 0, duplicates = 0, old_packets = 0;
  std::uint64_t acks_sent = 0, acks_received = 0, key_updates = 0;
};

}  // namespace dh::bulk
