#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/time.hh"
#include "crypto/keys.hh"

namespace dh::derp {

/// Why a relay connection ended. All are final for this ClientCore; the shell reconnects with a new one.
enum class ClientError : std::uint8_t {
  NotDerp,        // the first bytes are not a ServerKey frame (an HTTP answer, a proxy page)
  Rejected,       // the stream ended before ServerInfo: login refused or not authorised
  BadServerInfo,  // ServerInfo did not open or parse
  FrameTooLong,   // a frame beyond 1 MiB
  LoginTimeout,   // no ServerInfo within 10 s
  Silent,         // nothing heard for 120 s, or 2 own pings unanswered
  Eof,            // the server closed an established connection
};
std::string_view to_string(ClientError error);

struct ClientConfig {
  KeyPair key;
  std::string app_name = "derphole";
  bool home = true;                     // NotePreferred(1) after login
  std::optional<PublicKey> server_key;  // known from the TLS meta certificate: fast start
  Duration ping_interval = 5s;          // own liveness pings; a pong is due within one interval
};

struct LoggedIn {
  PublicKey server_key;
};
/// `bytes` points into the core's input buffer: valid until the next on_bytes().
struct PacketReceived {
  PublicKey from;
  ByteView bytes;
};
enum class PeerGoneReason : std::uint8_t { Disconnected = 0, NotHere = 1 };
struct PeerGone {
  PublicKey peer;
  PeerGoneReason reason;
};
struct Health {
  std::string problem;
};  // empty: healthy again. Text is the relay's: printable() it
struct Restarting {
  Duration reconnect_in;
  Duration try_for;
};
struct PongReceived {
  Duration rtt;
};
struct ConnectionDead {
  ClientError error;
};
using ClientEvent =
    std::variant<LoggedIn, PacketReceived, PeerGone, Health, Restarting, PongReceived, ConnectionDead>;

enum class SendResult : std::uint8_t { Queued, TooLong, RateLimited, Dead };

struct ClientCounters {
  std::uint64_t packets_sent = 0, packets_received = 0, bytes_sent = 0, bytes_received = 0;
  std::uint64_t rate_limited = 0;    // dropped by the bucket the server announced
  std::uint64_t unknown_frames = 0;  // skipped, also ServerKey in fast start
  std::uint64_t short_frames = 0;    // known type, too short: skipped
};

/// One login to one DERP relay, from the first byte after the HTTP upgrade. Pure: no socket, no clock.
/// Contract: after every input drain poll_event() until empty, write output() to the stream, sleep until
/// next_timeout(). Spec: docs/protocol/derp.md.
class ClientCore {
public:
  ClientCore(const ClientConfig& config, Instant now, Rng& rng);

  // Inputs.
  void on_bytes(ByteView stream_bytes, Instant now);
  void on_eof(Instant now);
  void on_timeout(Instant now);
  /// May be called before LoggedIn once ClientInfo was written (after ServerKey, or at once in fast start).
  SendResult send_packet(const PublicKey& to, ByteView packet, Instant now);
  void note_preferred(bool home);

  // Outputs.
  std::optional<ClientEvent> poll_event();
  /// Bytes to write to the stream, in order. Stable until consume_output() or an input.
  ByteView output() const;
  void consume_output(std::size_t size);
  std::optional<Instant> next_timeout() const;
  bool can_send() const;  // ClientInfo is out and the connection lives
  const ClientCounters& counters() const;
};

}  // namespace dh::derp
