#pragma once

// The inside of Session, private to session*.cc: state and the steps between states. session_meeting.cc
// brings the two ends together, session_direct.cc moves them off the relay, session_traffic.cc keeps them
// talking and ends it, session.cc is the public face.

#include <deque>

#include "bulk/receiver.hh"
#include "bulk/sender.hh"
#include "session/claim_gate.hh"
#include "session/control_channel.hh"
#include "session/delivery_watch.hh"
#include "session/initiator.hh"
#include "session/limits.hh"
#include "session/session.hh"

namespace dh::session {

/// The bulk path behind which the best direct route of the moment lies; relays are 0..kMaxRelays - 1. Its
/// lanes are numbered on from there.
inline constexpr bulk::PathId kDirectPath = kMaxRelays;
static_assert(kDirectPath % bulk::kMaxLanes == 0, "a lane's index is its number modulo kMaxLanes");

struct Session::Impl {
  enum class State : std::uint8_t { Meeting, Open, Closing, Ended };  // diagram in session.hh

  Impl(const SessionConfig& config_in, Instant now, UnixSeconds wall, Rng& rng_in);
  bool dialer() const { return config.role == Role::Dialer; }
  void relay_up(std::size_t relay, Instant now);
  void relay_down(std::size_t relay, Instant now);
  void peer_gone(std::size_t relay, const PublicKey& who, derp::PeerGoneReason reason, Instant now);
  void start_handshake(std::size_t relay, Instant now);
  void relay_changed(Instant now);
  bool wants_relay(std::size_t relay) const;
  void heard(std::size_t relay, Instant now);
  void packet(std::size_t relay, const PublicKey& from, ByteSpan bytes, Instant now, UnixSeconds wall);
  void bulk_packet(std::size_t relay, ByteSpan bytes, Instant now);
  // session_direct.cc
  void start_paths(const SessionKeys& keys, Instant now);
  void udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan bytes, Instant now,
                    const std::optional<bulk::Opened>& ahead);
  void heard_direct(path::SocketId socket, const Endpoint& from, Instant now);
  void read_paths(Instant now);
  void use_direct(const path::Route& route, Instant now);
  void resize_direct(std::size_t datagram_bytes);
  void use_lanes(std::size_t wanted);
  void note_lane(ByteView datagram);
  void leave_direct(const std::string& why, Instant now);
  bool compares_delivery() const;
  void watch_delivery(Instant now);
  void watch_size(Instant now);
  std::optional<Instant> last_heard() const;
  bool policy(PathPolicy which) const { return config.paths == which; }

  void read_initiator(std::size_t relay, Instant now);
  void read_gate(Instant now);
  void read_control(Instant now);
  void accepted(Instant now);
  void open_stream(const SessionKeys& keys, AeadKind aead, Instant now);
  // Since when something is due from the peer and has not come.
  std::optional<Instant> due_since() const;
  void timeout(Instant now, UnixSeconds wall);
  void meeting_timeout(Instant now);
  void watch_peer(Instant now);
  std::optional<Instant> next_timeout() const;
  bool is_blocked() const;
  bool usable(std::size_t relay) const { return relays.is_up(relay) && writable[relay]; }
  std::optional<Transmit> emit(std::size_t relay, const PublicKey& to, ByteView bytes, ByteSpan out);
  std::optional<Transmit> emit_direct(ByteView bytes, ByteSpan out);
  std::optional<Transmit> transmit(ByteSpan out, Instant now, bulk::Seal* later);
  std::optional<Transmit> transmit_control(ByteSpan out, Instant now);
  std::optional<Transmit> transmit_bulk(ByteSpan out, Instant now, bulk::Seal* later);
  std::optional<Transmit> transmit_others(ByteSpan out, Instant now);
  void read_stream();
  // Over, but the last packets must leave first: `now_or_never` when nothing of the peer is awaited any more.
  void close_with(SessionEnded end_in, bool nothing_awaited);
  void finish_closing();
  void end(SessionEnd how, std::optional<RejectReason> reject = std::nullopt);
  void abort(bulk::AbortCode code, std::string reason, Instant now);
  bool send_message(ByteView message, Instant now);
  void confirm_when_heard(Instant now);
  void count_bytes(std::size_t relay, std::size_t size) { relay_bytes[relay] += size; }

  SessionConfig config;
  Rng& rng;
  RelaySet relays;
  State state = State::Meeting;
  Instant started;
  UnixSeconds last_wall{};
  std::array<std::optional<Initiator>, kMaxRelays> initiators;
  std::optional<ClaimGate> gate;
  std::optional<ControlChannel> control;
  std::optional<bulk::Sender> sender;
  std::optional<bulk::Receiver> receiver;
  std::optional<path::PathFinder> paths;
  std::optional<path::Route> direct;  // in use
  std::optional<Instant> direct_heard, direct_deadline;
  path::SocketId heard_by = 0;  // with direct_heard
  Endpoint heard_from;
  std::optional<Instant> bulk_only_at;  // at this instant nothing but the stream had anything to send ...
  unsigned bulk_only = 0;               // ... and is asked first, so often
  DeliveryWatch delivery;
  std::uint64_t direct_bytes = 0, black_holes = 0;
  std::size_t direct_datagram_bytes = 0;
  PublicKey peer{};
  ByteArray<32> binding{};
  std::deque<SessionEvent> events;
  std::deque<std::pair<std::size_t, Bytes>> copies;  // control packets for the other relays
  std::optional<SessionEnded> result;
  std::optional<std::size_t> told_relay;
  std::optional<Instant> give_up, expires, goodbye_until, silent_since;
  std::array<bool, kMaxRelays> writable{};
  std::array<std::uint64_t, kMaxRelays> relay_bytes{};
  std::uint64_t unknown_packets = 0;
  std::size_t lanes = 1;            // sending: in use; receiving: heard of
  std::size_t asked_lanes = 1;      // receiving
  std::uint64_t told_capacity = 0;  // receiving
  bool want_others = false;         // dialer: the token's other relays as well
  bool heard_absent = false;        // a relay said that the listener is not there
  bool ever_up = false;
  bool messages_sent = false;
  bool confirm_wanted = false;  // everything read is safe; the peer has yet to acknowledge our messages
  bool finishing = false;       // end as soon as nothing is left to send
};

}  // namespace dh::session
