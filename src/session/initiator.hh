#pragma once

// The dialer's half of the handshake: knocks at the listener until it has keys.
// Spec: docs/protocol/handshake.md "Dialer".

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/rng.hh"
#include "base/time.hh"
#include "session/control_channel.hh"
#include "session/handshake.hh"

namespace dh::session {

struct InitiatorConfig {
  Token token;
  PublicKey own_derp;      // ours on this relay
  std::string relay_name;  // relay_name(token.relays[i]) of the relay used
  Claim claim;             // M3
};

/// M2 verified. `channel` holds the claim as its first message already: drain its poll_packet at once; data
/// may follow right behind. The answer (M4) is its first incoming message. Build no second channel from
/// `keys`. The listener remembers the handshake for ClaimGate::kPendingLifetime, so the claim may be repeated
/// for as long as anybody waits; only 64 younger handshakes push it out.
struct KeysReady {
  SessionKeys keys;
  ControlChannel channel;
};
/// The listener answers, but with another psk: the token's secrets are not its own. Nothing more is sent.
struct WrongCredentials {};
using InitiatorEvent = std::variant<KeysReady, WrongCredentials>;

struct InitiatorCounters {
  std::uint64_t sent = 0;           // M1s
  std::uint64_t cookies = 0;        // cookie replies used
  std::uint64_t malformed = 0;      // handshake datagrams of no valid form
  std::uint64_t unknown_index = 0;  // for an attempt we do not remember
  std::uint64_t bad_mac = 0;        // made by somebody who could not read our M1
  std::uint64_t refused = 0;        // M2 by the listener itself that does not verify
  std::uint64_t late = 0;           // after the end
};

/// Where a dialer's handshake stands.
///   Knocking --good M2--> Done
///      +--M2 with another psk, none good for kRefusedAfter--> Refused
enum class InitiatorState : std::uint8_t { Knocking, Done, Refused };

/// One dialer on one relay. Pure; the shared contract of cores. It knocks until told otherwise: the caller
/// bounds the wait.
class Initiator {
public:
  static constexpr Duration kFirstRetry = 250ms;  // then x1.5
  static constexpr Duration kMaxRetry = 2s;
  static constexpr double kRetryJitter = 0.1;     // of the interval, added
  static constexpr std::size_t kMaxAttempts = 4;  // remembered, for a late M2
  static constexpr Duration kGoneRetry = 300ms;   // after "not here": it may be just arriving
  static constexpr Duration kEarlyEvery = 1s;    // knocks a hint or a cookie brings forward: at most so often
  static constexpr Duration kRefusedAfter = 2s;  // a good M2 within it wins over a bad one
  static constexpr Duration kCookieLifetime = 120s;  // the listener rotates its secret then

  Initiator(const InitiatorConfig& config, Instant now, UnixSeconds wall, Rng& rng);

  /// True when it was a handshake datagram for this dialer (good or bad).
  bool on_packet(ByteView packet, Instant now);
  /// The relay says the listener is not connected. Only a hint.
  void on_peer_gone(Instant now);
  void on_timeout(Instant now);

  std::optional<Bytes> poll_packet();  // to token.listener_derp
  std::optional<InitiatorEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  InitiatorState state() const { return state_; }
  const InitiatorCounters& counters() const { return counters_; }

private:
  struct Attempt {
    std::uint32_t index;
    NoiseHandshake noise;
    wire::HandshakeMac mac1;
    bool cookie_used = false;
  };
  struct Cookie {
    ByteArray<16> value;
    Instant until;
  };

  void knock(Instant now);
  void knock_early(Instant now, Duration after);
  void end(InitiatorState state, InitiatorEvent event);
  void on_m2(ByteView packet, Instant now);
  void on_cookie(ByteView packet, Instant now);
  Attempt* find(std::uint32_t index);

  InitiatorConfig config_;
  Rng& rng_;
  KeyPair static_key_;  // throwaway: one per dialer
  ByteArray<32> mac1_to_listener_, mac1_to_us_, cookie_key_;
  InitiatorState state_ = InitiatorState::Knocking;
  HandshakeTime time_;
  std::deque<Attempt> attempts_;
  std::optional<Cookie> cookie_;
  std::optional<Bytes> outgoing_;
  std::optional<InitiatorEvent> event_;
  Duration interval_ = kFirstRetry;
  std::optional<Instant> next_knock_;
  std::optional<Instant> refuse_at_;
  std::optional<Instant> last_early_knock_;
  InitiatorCounters counters_;
};

}  // namespace dh::session
