#pragma once

// The messages of the control channel: M3 and M4 of the handshake, and everything small the two ends of a
// session tell each other later. Spec: docs/protocol/control.md "Messages".

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/address.hh"
#include "base/bytes.hh"

namespace dh::wire {

/// Why the listener turned a claim down; travels in M4. Each has its own sentence and exit status at the
/// dialer.
enum class RejectReason : std::uint8_t {
  AlreadyClaimed = 1,   // somebody else has the session                (exit 5)
  Expired = 2,          // the token's time is over                     (exit 5)
  WrongCapability = 3,  // this token is for another command            (exit 5)
  WrongVersion = 4,     // no common protocol version                   (exit 1)
  Declined = 5,         // a person said no                             (exit 3)
  Busy = 6,             // too many at once                             (exit 4)
};
std::string_view to_string(RejectReason reason);

/// The dialer's request, the first message of its control channel (M3).
struct Claim {
  std::uint16_t protocol_version = 1;
  std::uint32_t capability = 0;
  std::uint64_t receive_window = 0;  // always 0: what a stream may hold at first goes by the capability
  std::uint8_t aead_kinds = 0;       // bit 0: AES-256-GCM with hardware, bit 1: ChaCha20-Poly1305
  bool operator==(const Claim&) const = default;
};
/// The listener's yes, the first message of its control channel (M4).
struct ClaimAccepted {
  std::uint16_t protocol_version = 1;
  std::uint64_t receive_window = 0;
  std::uint8_t aead_kind = 0;  // an AeadKind
  bool operator==(const ClaimAccepted&) const = default;
};
/// The listener's no (M4).
struct ClaimRejected {
  RejectReason reason = RejectReason::Declined;
  bool operator==(const ClaimRejected&) const = default;
};
/// The session is over; nothing follows.
struct Close {
  static constexpr std::size_t kMaxReason = 200;  // bytes; printable() before showing
  std::uint16_t code = 0;                         // 0: all done; else a bulk::AbortCode
  std::string reason;
  bool operator==(const Close&) const = default;
};
/// "Look for me on this relay of the token from now on."
struct RelayHint {
  std::uint8_t relay = 0;  // index in the token
  bool operator==(const RelayHint&) const = default;
};
/// Asks for nothing but the channel's own acknowledgement: is the peer there?
struct Ping {
  bool operator==(const Ping&) const = default;
};
/// From command to command; what is inside is theirs (transfer.md, ssh.md).
struct CommandMsg {
  static constexpr std::size_t kMaxBody = 1000;  // bytes; fits the channel's 1024
  Bytes body;
  bool operator==(const CommandMsg&) const = default;
};
/// From the stream's receiver: "more reaches me than one thread or one socket of mine can take; spread it
/// over so many lanes." Asks; the sender decides.
struct LanesWanted {
  std::uint8_t lanes = 1;
  bool operator==(const LanesWanted&) const = default;
};
/// From the stream's receiver: what the system holds for its socket on the direct path while it is not
/// looking. The sender's bursts should be smaller.
struct SocketCapacity {
  std::uint64_t bytes = 0;
  bool operator==(const SocketCapacity&) const = default;
};
/// Where an address of a candidate comes from. The number goes on the wire.
enum class CandidateKind : std::uint8_t {
  Host = 1,             // an interface of the sender
  ServerReflexive = 2,  // what a STUN server saw
  Mapped = 3,           // a port mapping of its gateway (PCP, NAT-PMP, UPnP)
  Predicted = 4,        // what a NAT that counts will probably use next
};
std::string_view to_string(CandidateKind kind);
struct Candidate {
  CandidateKind kind = CandidateKind::Host;
  Endpoint endpoint;
  bool operator==(const Candidate&) const = default;
};
/// How the sender's NAT maps ports (RFC 4787 §4.1), as far as it knows.
enum class MappingBehaviour : std::uint8_t {
  Unknown = 0,
  EndpointIndependent = 1,
  Random = 2,      // another port for every destination, unpredictable
  Sequential = 3,  // another port for every destination, by a small stride
};
std::string_view to_string(MappingBehaviour mapping);
/// How both sides try to reach each other this time.
enum class PunchMode : std::uint8_t {
  Plain = 1,      // probe every candidate
  FreshPort = 2,  // from a new port: openers that die on the way first, predicted ports of NATs that count
  Birthday = 3,   // one side opens many ports, the other one searches
};
/// "These are my addresses; probe them now." The whole list every time; never answered just because it came.
struct CallMeMaybe {
  static constexpr std::size_t kMaxCandidates = 32;
  std::uint32_t round = 0;    // grows with every list of this sender
  std::uint32_t attempt = 0;  // of the dialer; the listener repeats it. A new one starts probing afresh
  PunchMode mode = PunchMode::Plain;
  MappingBehaviour mapping = MappingBehaviour::Unknown;
  std::vector<Candidate> candidates;
  bool operator==(const CallMeMaybe&) const = default;
};
/// A type this version does not know: ignored and counted. Types 0x10..0x1f are kept for path candidates.
struct UnknownMsg {
  std::uint8_t type = 0;
  Bytes body;
  bool operator==(const UnknownMsg&) const = default;
};
using SessionMsg = std::variant<Claim, ClaimAccepted, ClaimRejected, Close, RelayHint, Ping, CommandMsg,
                                LanesWanted, SocketCapacity, CallMeMaybe, UnknownMsg>;

Bytes serialize(const SessionMsg& message);
/// Bytes behind the known fields of a known type are ignored (later versions append).
std::expected<SessionMsg, WireError> parse_session_msg(ByteView bytes);

}  // namespace dh::wire
