#pragma once

// The receiver's side of a meeting by code. Spec: docs/protocol/code.md "Exchange".

#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/keys.hh"
#include "derp/client_core.hh"
#include "session/code_keys.hh"
#include "session/code_limits.hh"
#include "wire/code_msg.hh"

namespace dh::session {

/// Why a code did not lead to a token. Each value is one sentence for the person.
enum class CodeFailure : std::uint8_t {
  NobodyThere,   // the relay knows nobody at this code's address: mistyped, expired or used
  NoAnswer,      // somebody is there, but does not answer
  WrongCode,     // the first two words lead to a sender, the others are not its own (or somebody interferes)
  Burnt,         // too many wrong tries before this one
  AlreadyUsed,   // somebody else got the token first
  Interference,  // the answer was not made by who knows the code
};
std::string_view to_string(CodeFailure failure);  // a sentence for people, without a full stop

struct CodeReceiverConfig {
  std::string secret_text;  // Code::secret_text()
  std::string place;
  std::vector<PublicKey> meeting_keys;  // where the sender may be, likeliest first: hours_to_try
  KeyPair own_key;                      // fresh, for this try only
  std::uint32_t capabilities = 0;
  Duration wait = 15s;  // for a sender to appear
};

/// The result of a try: the token's text, or why there is none.
using CodeResult = std::expected<std::string, CodeFailure>;

// How far one try is. It makes one guess in its life, however it ends: whoever poses as the sender learns one
// yes or no.
//   Calling --cookie--> Sharing --their point--> Proving --gift opens----------------> Done
//      |                   |                        |
//      +--wait over--------+--no answer-------------+--refused, does not open, no answer--> Done
enum class CodeReceiverState : std::uint8_t {
  Calling,  // hellos to one possible address after the other
  Sharing,  // the sender has answered; our point is out
  Proving,  // our one guess is out
  Done,
};

/// One try of one code. Pure. Contract: after every input drain poll_transmit and look at result(), then
/// sleep until next_timeout().
class CodeReceiver {
public:
  CodeReceiver(CodeReceiverConfig config, Instant now, Rng& rng);

  void on_line_up(Instant now);
  void on_line_down(Instant now);
  void on_packet(const PublicKey& from, ByteView packet, Instant now);
  void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason, Instant now);
  void on_timeout(Instant now);

  struct Transmit {
    PublicKey to;
    Bytes packet;
  };
  std::optional<Transmit> poll_transmit();
  std::optional<Instant> next_timeout() const;
  const std::optional<CodeResult>& result() const { return result_; }
  CodeReceiverState state() const { return state_; }
  /// The proof has left: another try, anywhere, would be another guess.
  bool has_guessed() const { return has_guessed_; }

private:
  const PublicKey& sender() const { return config_.meeting_keys[address_]; }
  void call(std::size_t address, Instant now);
  void next_address(Instant now);
  void repeat(Instant now);
  void finish(CodeResult result);
  void on_cookie(const wire::CodeCookie& cookie, Instant now);
  void on_share(const wire::CodeShareS& share, Instant now);
  void on_gift(const wire::CodeGift& gift);
  void on_refusal(const wire::CodeRefusal& refusal);
  MeetingContext context() const;

  CodeReceiverConfig config_;
  Rng& rng_;
  CodeReceiverState state_ = CodeReceiverState::Calling;
  bool up_ = false;
  bool has_guessed_ = false;
  std::size_t address_ = 0;
  bool silence_ = false;  // an address was there, or may have been, when last called
  wire::CodeNonce own_nonce_{};
  wire::CodeNonce sender_nonce_{};
  std::optional<Cpace> cpace_;
  std::optional<CpaceKeys> keys_;
  Bytes last_;  // what is repeated until it is answered
  Instant deadline_;
  std::optional<Instant> resend_at_;
  std::optional<Instant> patience_until_;  // with this address, or with the sender's answer
  std::optional<Instant> round_at_;        // when the next round begins
  std::deque<Transmit> out_;
  std::optional<CodeResult> result_;
};

}  // namespace dh::session
