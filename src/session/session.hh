#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "bulk/congestion_controller.hh"
#include "bulk/hold_clock.hh"
#include "bulk/keys.hh"
#include "bulk/limits.hh"
#include "bulk/stream.hh"
#include "crypto/keys.hh"
#include "derp/client_core.hh"
#include "path/path_finder.hh"
#include "session/handshake.hh"
#include "session/relay_set.hh"
#include "session/token.hh"
#include "wire/session_msg.hh"

namespace dh::session {

/// How a session is over. Each value is one sentence for the person and one exit status (apps/derphole).
enum class SessionEnd : std::uint8_t {
  Complete,        // every byte is where it belongs, and both sides know
  Rejected,        // the listener said no: see SessionEnded::reject
  NobodyThere,     // no listener behind the token within the wait
  NoRelay,         // none of the token's relays could be reached within the wait
  TokenRefused,    // the listener is there, but the token's secrets are not its own
  ListenerSilent,  // the relay knows the listener, which does not answer to this token
  Expired,         // the token's time is over (dialer: before dialling; listener: nobody came)
  Aborted,         // one side ended the stream: see SessionEnded::abort
  NetworkLost,     // nothing heard for kPeerSilenceLimit
  NoDirectPath,    // one was required and none was found within the wait: see PathFinder::obstacle()
};
std::string_view to_string(SessionEnd end);

/// Where payload may travel.
enum class PathPolicy : std::uint8_t {
  Best,           // starts on the relay, moves to a direct path and back
  ForceRelay,     // no direct path is looked for; nobody learns our addresses
  RequireDirect,  // payload never crosses a relay
};

enum class Role : std::uint8_t { Listener, Dialer };
enum class Direction : std::uint8_t { Send, Receive };  // of the one bulk stream

struct SessionConfig {
  Role role = Role::Dialer;
  Direction direction = Direction::Send;
  Token token;
  Capability capability = Capability::Pipe;
  KeyPair derp_key;                     // ours on the relays; the listener's is in the token
  std::optional<KeyPair> noise_key;     // listener only; its public half is in the token
  Duration wait = 15s;                  // dialer: how long the listener may take to answer
  AeadKind aead = AeadKind::Aes256Gcm;  // dialer: what this machine does fastest
  PathPolicy paths = PathPolicy::Best;
  bulk::BbrConfig bbr;                                  // sending, with Controller::Bbr
  bulk::Controller controller = bulk::Controller::Bbr;  // sending; over relays only Ledbat changes anything
  std::uint64_t rate_limit = 0;                         // sending: stream bytes per second; 0: none
  std::size_t lanes = 1, most_lanes = bulk::kMaxLanes;  // sending: of the direct path, at first and ever
  std::size_t relay_datagram_bytes = 32'512;            // a frame of it fits a 32 KiB WebSocket message
};

struct ClaimedBy {
  PublicKey peer;
  ByteArray<32> binding{};  // from the handshake: the same at both ends, and nowhere else
};                          // the session has its two ends
struct RelayInUse {
  std::size_t relay;
};  // traffic moved to this relay of the token
/// Traffic moved to this direct path.
struct DirectInUse {
  path::Route route;
};
/// The stream's packets on the direct path are spread over so many lanes from now on; rises only.
struct LanesInUse {
  std::size_t lanes;
};
/// The direct path is gone; traffic is on the relay again.
struct DirectLost {
  std::string why;  // a clause for people
};
using path::CloseSockets;
using path::OpenSockets;
/// Nothing was heard from the peer although something is due. Repeated by the caller's clock, not here.
struct PeerSilent {
  Instant since;
};
struct PeerBack {
  Duration silent_for;
};
struct StreamReadable {
  std::uint64_t total;
};  // receiver: the stream has ended, `total` bytes in all
/// The peer's command said something beside the stream.
struct PeerMessage {
  Bytes bytes;
};
struct SessionEnded {
  SessionEnd end;
  std::optional<RejectReason> reject;
  std::optional<bulk::StreamAborted> abort;
};
using SessionEvent =
    std::variant<ClaimedBy, RelayInUse, DirectInUse, LanesInUse, DirectLost, OpenSockets, CloseSockets,
                 PeerSilent, PeerBack, StreamReadable, PeerMessage, SessionEnded>;

struct SessionCounters {
  bulk::StreamCounters stream;
  std::uint64_t unknown_packets = 0;                    // neither handshake, control nor bulk, or not ours
  std::array<std::uint64_t, kMaxRelays> relay_bytes{};  // of the stream, sent and received, per relay
  std::uint64_t direct_bytes = 0;                       // of the stream, over direct paths
  std::size_t lanes = 1;                                // of the direct path
  std::size_t direct_datagram_bytes = 0;  // the largest that the direct path in use, or the last one, carries
  std::array<Duration, bulk::kHeldByCount> held{};  // sending: how long for what (bulk::HeldBy)
  std::uint64_t black_holes = 0;                    // it stopped carrying what it had carried before
};

/// One session from token to goodbye, for either role and direction: introduces handshake or claim gate,
/// control channel, relays and bulk stream to each other. Pure. Contract: after every input drain
/// poll_transmit and poll_event, look at wants_relay(), then sleep until next_timeout().
///
///   Meeting --M2 (dialer) / claim (listener)--> Open --stream complete, aborted--> Closing --flushed-->
///   Ended
///      |                                          |
///      +-- wait over, token refused, expired -----+-- silence limit, rejected ----------------------> Ended
class Session {
public:
  Session(const SessionConfig& config, Instant now, UnixSeconds wall, Rng& rng);
  ~Session();

  // Relays, by their index in the token.
  void on_relay_up(std::size_t relay, Instant now);
  void on_relay_down(std::size_t relay, Instant now);
  void on_relay_writable(std::size_t relay, bool writable);
  void on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now,
                       UnixSeconds wall);
  void on_peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason, Instant now);
  bool wants_relay(std::size_t relay) const;

  // Direct paths. The shell opens UDP sockets and tells the finder what it knows of this machine's network;
  // after any call to it, drain as after any other input. nullptr with ForceRelay.
  path::PathFinder* paths();
  /// `ahead`: what one of ahead_openers() made of it, if it was asked.
  void on_udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan datagram, Instant now,
                       const std::optional<bulk::Opened>& ahead = {});
  /// Receiving: what may open datagrams of direct paths on a thread of the shell's before they are handed in,
  /// one for each lane in use; every thread needs its own. Whenever openers_version() has risen the threads
  /// must have new ones before what poll_transmit() gives next leaves.
  std::vector<std::shared_ptr<bulk::AheadOpener>> ahead_openers() const;
  std::uint64_t openers_version() const;
  /// Receiving: what the sockets of direct paths hold, for the sender to know. Said once for each value.
  void set_socket_capacity(std::uint64_t bytes, Instant now);
  /// Another lane for the stream's packets on direct paths, because what the shell does for the first ones
  /// fills a core or overflows a buffer. Sending: LanesInUse follows, if most_lanes allow. Receiving: asks
  /// the peer.
  void want_lane(Instant now);

  // The stream, sending.
  /// Memory for the stream's next bytes (bulk::Sender::room): empty before Open, and while enough waits to be
  /// sent.
  ByteSpan room();
  void commit(std::size_t size);
  void finish();
  // The stream, receiving.
  ByteView readable() const;
  void consume(std::size_t size, Instant now);
  void confirm(Instant now);  // after StreamReadable and once everything read is safe

  /// To the peer's command, beside the stream and in order: PeerMessage there. 1..kMaxMessageBytes.
  /// false: not open, or too many are unacknowledged; try again after the next input.
  /// A confirm() waits until all of them were acknowledged.
  bool send_message(ByteView message, Instant now);
  static constexpr std::size_t kMaxMessageBytes = wire::CommandMsg::kMaxBody;

  /// Ends the session from this side: tells the peer (reliably, at most kGoodbyeLimit), then
  /// SessionEnded{Aborted}.
  void abort(bulk::AbortCode code, std::string reason, Instant now);

  void on_timeout(Instant now, UnixSeconds wall);
  struct RelayTransmit {
    std::size_t relay;
    PublicKey to;
    std::size_t size;
  };
  using Transmit = std::variant<RelayTransmit, path::Transmit>;
  /// Builds the next packet into `out` (at least kMaxPacketBytes). Only for relays that are up and writable,
  /// and for sockets that were opened. `later`: as of bulk::Sender.
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now, bulk::Seal* later = nullptr);
  std::optional<SessionEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  bool is_open() const;
  SessionCounters counters() const;
  std::optional<Duration> smoothed_rtt() const;
  /// Of the path the stream is on; empty: not sending, or no path.
  std::optional<bulk::ControllerReport> controller_report() const;
  static constexpr std::size_t kMaxPacketBytes = 65'536;  // a DERP packet's limit

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dh::session
