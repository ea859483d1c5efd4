#pragma once

// The listener's half of the handshake: silent to strangers, cheap under floods, and one claim at a time.
// Spec: docs/protocol/handshake.md "Listener".

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "session/control_channel.hh"
#include "session/cookie_jar.hh"
#include "session/handshake.hh"
#include "session/knock_limits.hh"

namespace dh::session {

struct GateConfig {
  Token token;
  KeyPair noise_static;                  // its public half is token.listener_noise
  std::vector<std::string> relay_names;  // relay_name() of token.relays, same order
  std::size_t slots = 1;                 // sessions at once
};

struct GatePacket {
  std::size_t relay;  // index in GateConfig::relay_names
  PublicKey to;
  Bytes bytes;
};

/// An authenticated holder of the token asks for the session. Answer with accept or reject, always.
/// From now on the caller routes control packets for keys.local_index to `channel` itself.
struct ClaimArrived {
  SessionKeys keys;
  ControlChannel channel;
  Claim claim;
  PublicKey from;
  std::size_t relay;
  Duration round_trip{};  // from our M2 to the claim
};

/// What the gate saw. Everything up to `forged` was answered with silence.
struct GateCounters {
  std::uint64_t m1_received = 0;   // datagrams that look like M1
  std::uint64_t malformed = 0;     // wrong size, type or version, or no handshake datagram at all
  std::uint64_t wrong_relay = 0;   // through a relay the token does not name
  std::uint64_t wrong_sender = 0;  // envelope names another DERP key than the relay
  std::uint64_t bad_mac = 0;       // mac1: a stranger. No curve operation was spent
  std::uint64_t replayed = 0;      // an ephemeral key seen before, or an older attempt of a dialer at work
  std::uint64_t limited = 0;       // the sender's own rate limit
  std::uint64_t forged = 0;        // mac1 good, Noise not: altered, or another prologue
  std::uint64_t cookies_sent = 0;  // instead of M2, under load
  std::uint64_t m2_sent = 0;
  std::uint64_t evicted = 0;          // unfinished handshakes that made room
  std::uint64_t timed_out = 0;        // unfinished handshakes after kPendingLifetime
  std::uint64_t unknown_index = 0;    // control packets for no handshake of ours
  std::uint64_t bad_control = 0;      // control packets that did not authenticate or were replayed
  std::uint64_t protocol_errors = 0;  // authentic, but no claim
  std::uint64_t claims = 0;           // M3 verified
  std::uint64_t accepted = 0;
  std::uint64_t rejected = 0;
  std::uint64_t overflow = 0;  // packets dropped because the caller did not drain
};

class ClaimGate {
public:
  static constexpr std::size_t kMaxPending = 64;  // handshakes, finished or not
  static constexpr std::size_t kMaxPendingPerSender =
      16;                                           // four relays, four attempts a dialer remembers on each
  static constexpr Duration kPendingLifetime = 1h;  // for M3: as long as a token lives, so that a dialer told
                                                    // to wait may wait through anything
  static constexpr Duration kIdleAfter = 60s;       // without M3: no sign of load, and the first to make room
  static constexpr Duration kDecisionLimit = 10s;   // for the owner's yes or no, and for a no to be delivered
  static constexpr std::size_t kMaxOutgoing = 256;  // packets; one input makes only a few

  ClaimGate(GateConfig config, Instant now, Rng& rng);

  /// Any datagram that is not for a session handed out: M1, and control packets of unfinished claims.
  /// True when it authenticated.
  bool on_packet(std::string_view relay_name, const PublicKey& from, ByteView packet, Instant now,
                 UnixSeconds wall);
  void on_timeout(Instant now);
  /// Puts the yes into arrived.channel (the caller drains it) and takes the slot: others waiting are told
  /// AlreadyClaimed.
  void accept(ClaimArrived& arrived, const ClaimAccepted& answer, Instant now);
  /// The gate takes the channel back to deliver the no; the next one waiting becomes an event.
  void reject(ClaimArrived&& arrived, RejectReason reason, Instant now);
  /// A session handed out is over: its slot is free again (tokens for more than one session).
  void release(std::uint32_t local_index);

  std::optional<GatePacket> poll_packet();
  std::optional<ClaimArrived> poll_event();
  std::optional<Instant> next_timeout() const;

  bool is_taken() const { return sessions_.size() >= config_.slots; }
  std::size_t pending() const { return pending_.size(); }
  const GateCounters& counters() const { return counters_; }

private:
  /// Where a handshake stands.
  ///   AwaitingClaim --claim--> Claiming --event taken--> (left the gate) --reject--> Refusing --acked-->
  ///   gone
  ///         +--bad claim--> Refusing            gone after kPendingLifetime, then kDecisionLimit
  enum class PendingState : std::uint8_t {
    AwaitingClaim,  // M2 sent
    Claiming,       // M3 verified; waits for its turn to become an event
    Refusing,       // M4 says no; kept until it is acknowledged
  };
  struct Pending {
    PendingState state;
    SessionKeys keys;
    ControlChannel channel;
    PublicKey from;
    PublicKey initiator_static;
    HandshakeTime time;
    std::size_t relay;
    Instant deadline;
    Claim claim;
    Duration round_trip{};  // from M2 to the claim
  };

  bool on_m1(std::size_t relay, const PublicKey& from, ByteView packet, Instant now);
  bool answer_m1(std::size_t relay, const PublicKey& from, const wire::HandshakeM1& m1, Instant now);
  bool on_control(ByteView packet, Instant now, UnixSeconds wall);
  bool on_claim(Pending& pending, ByteView message, Instant now, UnixSeconds wall);
  void refuse(Pending& pending, RejectReason reason, Instant now);
  bool make_room(const PublicKey& from, Instant now);
  bool evict(const std::function<bool(const Pending&)>& may_go);
  bool is_full() const;
  bool is_loaded(Instant now) const;
  static bool is_idle(const Pending& pending, Instant now);
  std::optional<RejectReason> judge(const Claim& claim, UnixSeconds wall) const;
  bool is_stale(const PublicKey& initiator_static, const HandshakeTime& time) const;
  std::optional<std::size_t> relay_index(std::string_view name) const;
  std::uint32_t fresh_index();
  void drain(Pending& pending, Instant now);
  void send(std::size_t relay, const PublicKey& to, Bytes bytes);

  GateConfig config_;
  Rng& rng_;
  ByteArray<32> mac1_key_;
  CookieJar cookies_;
  KnockLimits limits_;
  std::deque<Pending> pending_;            // oldest first
  std::optional<std::uint32_t> deciding_;  // local index of the claim handed out and not yet answered
  std::vector<std::uint32_t> sessions_;    // local indices of sessions handed out
  std::deque<GatePacket> outgoing_;
  GateCounters counters_;
};

}  // namespace dh::session
