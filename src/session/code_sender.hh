#pragma once

// The sender's side of a meeting by code. Spec: docs/protocol/code.md "Exchange".

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/keys.hh"
#include "derp/client_core.hh"
#include "session/code_keys.hh"
#include "session/code_limits.hh"
#include "session/knock_limits.hh"
#include "wire/code_msg.hh"

namespace dh::session {

/// The sender's two logins at the relay.
enum class CodeLine : std::uint8_t {
  Bell,     // a fresh key: asks whether the meeting key is free, later whether it still is ours
  Meeting,  // the meeting key
};

/// How a code comes to its end.
enum class CodeEnd : std::uint8_t {
  Used,        // the token was handed over
  Burnt,       // kCodeTries wrong tries
  TakenOver,   // somebody else is logged in with the meeting key
  WordsInUse,  // before the code was ever shown: somebody has the same first two words; draw others
  Expired,     // nobody came in time
};
std::string_view to_string(CodeEnd end);  // a clause for people

struct CodeSenderConfig {
  std::string secret_text;  // Code::secret_text()
  std::string place;
  KeyPair meeting_key;
  KeyPair bell_key;
  std::string token_text;
  std::uint32_t capabilities = 0;  // of this protocol; none so far
  Duration life = kCodeLife;       // at most kMaxCodeLife
  Duration self_check_every = kSelfCheckEvery;
};

/// The code can be told: its address is ours and packets get there.
struct CodeReady {};
/// Somebody tried a wrong secret.
struct CodeWrongTry {
  unsigned number;  // 1..of
  unsigned of;
};
/// The receiver proved that it knows the code, and the token is on its way.
struct CodeHandedOver {
  PublicKey receiver;  // its throw-away key at the relay
};
/// The last event; both lines may be closed.
struct CodeEnded {
  CodeEnd end;
};
using CodeSenderEvent = std::variant<CodeReady, CodeWrongTry, CodeHandedOver, CodeEnded>;

struct CodeSenderCounters {
  std::uint64_t hellos = 0, shares = 0, proofs = 0;  // that were well-formed
  std::uint64_t malformed = 0;                       // no message of ours, or not for us
  std::uint64_t rate_limited = 0;                    // hellos and shares beyond the rate
  std::uint64_t bad_cookies = 0;                     // shares of whom we never answered
  std::uint64_t bad_points = 0;                      // no group element: the run is over, no try
  std::uint64_t too_early = 0;                       // proofs within kBetweenTries of a wrong one
  std::uint64_t over_budget = 0;                     // messages of a run beyond kMaxRunMessages
  std::uint64_t missed_self_checks = 0;
};

// Where a code stands. The meeting line is wanted from Joining on.
//   Ringing --"not here"--> Joining --own ring arrives--> Open --right proof--> Handed --20 s--> Ended
//      |                       |                            |
//      +--3 rings unanswered---+--own rings get lost--------+--3 wrong, taken over, life over--> Ended
enum class CodeSenderState : std::uint8_t {
  Ringing,  // is somebody at our address?
  Joining,  // logging in there; the code is not shown yet
  Open,     // the code may be used
  Handed,   // it was; only the receiver that has the token is answered
  Ended,
};

/// One code, from the first ring to its end. Pure. Contract: after every input drain poll_transmit and
/// poll_event, look at wants_line(), sleep until next_timeout().
class CodeSender {
public:
  CodeSender(CodeSenderConfig config, Instant now, Rng& rng);

  void on_line_up(CodeLine line, Instant now);
  void on_line_down(CodeLine line, Instant now);
  void on_packet(CodeLine line, const PublicKey& from, ByteView packet, Instant now);
  void on_peer_gone(CodeLine line, const PublicKey& peer, derp::PeerGoneReason reason, Instant now);
  /// What a relay says about our login; ends the code when it speaks of a second one.
  void on_health(CodeLine line, std::string_view problem, Instant now);
  void on_timeout(Instant now);

  struct Transmit {
    CodeLine line;
    PublicKey to;
    Bytes packet;
  };
  std::optional<Transmit> poll_transmit();
  std::optional<CodeSenderEvent> poll_event();
  std::optional<Instant> next_timeout() const;
  bool wants_line(CodeLine line) const;
  CodeSenderState state() const { return state_; }
  const CodeSenderCounters& counters() const { return counters_; }

private:
  // One receiver's try. Kept until the code ends or kMaxRuns newer ones have come.
  //   Shared --right proof--> Right
  //      +-----wrong proof--> Wrong
  enum class RunState : std::uint8_t {
    Shared,  // we have sent our point and wait for the proof
    Wrong,   // the proof was wrong; said so, will say so again
    Right,   // `answer` is the gift
  };
  struct Run {
    RunState state = RunState::Shared;
    wire::CodeShareR share;
    Bytes answer;  // to what came last
    Secret<64> expected_tag;
    Secret<64> own_tag;
    Bytes gift;  // sealed
    unsigned messages = 0;
  };

  void enter(CodeSenderState next, Instant now);
  void end(CodeEnd reason);
  void send(CodeLine line, const PublicKey& to, Bytes packet);
  void ring(Instant now);
  void on_hello(const PublicKey& from, const wire::CodeHello& hello, Instant now);
  void on_share(const PublicKey& from, const wire::CodeShareR& share, Instant now);
  void on_proof(const PublicKey& from, const wire::CodeProof& proof, Instant now);
  void wrong_try(const PublicKey& from, Run& run, Instant now);
  void on_own_ring(const wire::CodeRing& own, Instant now);
  bool within_budget(Run& run, unsigned messages);
  void answer(const PublicKey& to, Run& run, Bytes packet);
  void forget_all_runs_but(const PublicKey& receiver);
  ByteArray<16> cookie(const PublicKey& from, const wire::CodeNonce& receiver_nonce,
                       const wire::CodeNonce& sender_nonce) const;
  MeetingContext context(const PublicKey& receiver) const;
  bool both_up() const { return up_[0] && up_[1]; }

  CodeSenderConfig config_;
  Rng& rng_;
  CodeSenderState state_ = CodeSenderState::Ringing;
  Secret<32> cookie_key_;  // for this code only: it lives no longer than a rotating one would
  bool up_[2] = {false, false};
  wire::CodeNonce ring_nonce_{};
  unsigned rings_ = 0;     // Ringing: sent; later: own rings missed in a row
  bool ring_out_ = false;  // an own ring has not come back yet
  std::optional<Instant> ring_at_;
  std::optional<Instant> ring_due_back_;
  Instant expires_;
  std::optional<Instant> linger_until_;
  Instant next_try_ = Instant::min();
  unsigned wrong_tries_ = 0;
  Bucket hello_bucket_, share_bucket_;
  std::unordered_map<PublicKey, Run, PublicKeyHash> runs_;
  std::deque<PublicKey> run_order_;
  std::deque<Transmit> out_;
  std::deque<CodeSenderEvent> events_;
  CodeSenderCounters counters_;
};

}  // namespace dh::session
