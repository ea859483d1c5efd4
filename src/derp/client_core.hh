#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/keys.hh"
#include "derp/token_bucket.hh"
#include "wire/derp_frame_reader.hh"

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

inline constexpr Duration kLoginTimeout = 10s;     // from the upgrade to ServerInfo
inline constexpr Duration kSilenceTimeout = 120s;  // two of the relay's keepalives, its jitter included

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
/// `bytes` points into the core's input buffer: valid until the next on_bytes() or input_space(), and free to
/// be changed in place until then.
struct PacketReceived {
  PublicKey from;
  ByteSpan bytes;
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

// Where one login stands. Frames other than the ones named are skipped until Established.
//   AwaitServerKey --ServerKey: ClientInfo goes out--> AwaitServerInfo --ServerInfo opens--> Established
//        |                (fast start begins here) ----^       |                                  |
//        +-----------------------------------------------------+---any error, eof, silence--------+--> Dead
enum class ClientState : std::uint8_t {
  AwaitServerKey,   // nothing sent yet; nothing may be sent
  AwaitServerInfo,  // ClientInfo is in output(); packets may follow it
  Established,      // LoggedIn was reported; pings run
  Dead,             // ConnectionDead was or will be reported; inputs are ignored
};

/// One login to one DERP relay, from the first byte after the HTTP upgrade. Pure: no socket, no clock.
/// Contract: after every input drain poll_event() until empty (frames are parsed there), write output() to
/// the stream, sleep until next_timeout(). Spec: docs/protocol/derp.md.
class ClientCore {
public:
  ClientCore(const ClientConfig& config, Instant now, Rng& rng);
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  // Inputs.
  void on_bytes(ByteView stream_bytes, Instant now);
  /// As on_bytes without its copy: read from the stream into input_space(), then say how much came.
  ByteSpan input_space(std::size_t min_size = 64u << 10);
  void on_input(std::size_t size, Instant now);
  void on_eof(Instant now);
  void on_timeout(Instant now);
  /// May be called before LoggedIn once ClientInfo was written (after ServerKey, or at once in fast start).
  /// The core does not bound output(): the caller stops sending while it drains slowly.
  SendResult send_packet(const PublicKey& to, ByteView packet, Instant now);
  void note_preferred(bool home);

  // Outputs.
  std::optional<ClientEvent> poll_event();
  /// Bytes to write to the stream, in order. Stable until consume_output() or an input.
  ByteView output() const { return ByteView(out_).subspan(out_begin_); }
  void consume_output(std::size_t size);
  /// For asynchronous writers: exchanges `batch` with all of output(), which counts as consumed; false and
  /// `batch` cleared when there is none.
  bool take_output(Bytes& batch);
  std::optional<Instant> next_timeout() const;
  /// ClientInfo is out and the connection lives.
  bool can_send() const {
    return state_ == ClientState::AwaitServerInfo || state_ == ClientState::Established;
  }
  ClientState state() const { return state_; }
  const ClientCounters& counters() const { return counters_; }

private:
  enum Timer : std::uint8_t { kLogin, kPing, kSilence, kTimerCount };
  struct OwnPing {
    ByteArray<8> data{};
    Instant sent_at{};
  };

  void log_in(const PublicKey& server_key);
  void die(ClientError error);
  void send_ping();
  void heard(Instant now);
  std::optional<ClientEvent> on_frame(const wire::derp::FrameReader::Frame& frame);
  std::optional<ClientEvent> on_server_key(ByteView payload);
  std::optional<ClientEvent> on_server_info(ByteView payload);
  std::optional<ClientEvent> on_pong(ByteView payload);
  void answer_ping(ByteView payload);
  template <typename Frame>
  void write(const Frame& frame);

  ClientConfig config_;
  Rng& rng_;
  Instant now_;
  ClientState state_ = ClientState::AwaitServerKey;
  PublicKey server_key_;
  wire::derp::FrameReader reader_;
  bool any_frame_ = false;            // a whole frame was seen: this is DERP
  bool eof_ = false;                  // the stream ended; takes effect once the frames before it are drained
  std::optional<ClientError> death_;  // to be reported
  std::array<std::optional<Instant>, kTimerCount> timers_;
  std::array<std::optional<OwnPing>, 2> own_pings_;  // newest first, until their pong comes
  int unanswered_pings_ = 0;                         // since anything was heard
  std::optional<TokenBucket> bucket_;
  Bytes out_;
  std::size_t out_begin_ = 0;
  std::uint64_t out_total_ = 0;     // bytes ever put into output()
  std::uint64_t pong_end_ = 0;      // where the last Pong ends in them
  std::uint64_t out_consumed_ = 0;  // bytes ever taken out
  ClientCounters counters_;
};

}  // namespace dh::derp
