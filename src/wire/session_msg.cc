#include "wire/session_msg.hh"

#include <algorithm>

#include "base/check.hh"
#include "wire/path_probe.hh"

namespace dh::wire {
namespace {

enum Type : std::uint8_t {
  kClaim = 1,
  kClaimAccepted = 2,
  kClaimRejected = 3,
  kClose = 4,
  kRelayHint = 5,
  kPing = 6,
  kCommand = 7,
  kLanesWanted = 8,
  kSocketCapacity = 9,
  kCallMeMaybe = 0x10,
};

struct Serializer {
  Writer& w;
  void operator()(const Claim& claim) const {
    w.u8(kClaim);
    w.u16(claim.protocol_version);
    w.u32(claim.capability);
    w.u64(claim.receive_window);
    w.u8(claim.aead_kinds);
  }
  void operator()(const ClaimAccepted& accepted) const {
    w.u8(kClaimAccepted);
    w.u16(accepted.protocol_version);
    w.u64(accepted.receive_window);
    w.u8(accepted.aead_kind);
  }
  void operator()(const ClaimRejected& rejected) const {
    w.u8(kClaimRejected);
    w.u8(static_cast<std::uint8_t>(rejected.reason));
  }
  void operator()(const Close& close) const {
    const std::size_t size = std::min(close.reason.size(), Close::kMaxReason);
    w.u8(kClose);
    w.u16(close.code);
    w.u8(static_cast<std::uint8_t>(size));
    w.text(std::string_view(close.reason).substr(0, size));
  }
  void operator()(const RelayHint& hint) const {
    w.u8(kRelayHint);
    w.u8(hint.relay);
  }
  void operator()(const Ping&) const { w.u8(kPing); }
  void operator()(const CommandMsg& message) const {
    CHECK(message.body.size() <= CommandMsg::kMaxBody);
    w.u8(kCommand);
    w.u16(static_cast<std::uint16_t>(message.body.size()));
    w.bytes(message.body);
  }
  void operator()(const LanesWanted& wanted) const {
    w.u8(kLanesWanted);
    w.u8(wanted.lanes);
  }
  void operator()(const SocketCapacity& capacity) const {
    w.u8(kSocketCapacity);
    w.u64(capacity.bytes);
  }
  void operator()(const CallMeMaybe& call) const {
    CHECK(call.candidates.size() <= CallMeMaybe::kMaxCandidates);
    w.u8(kCallMeMaybe);
    w.u32(call.round);
    w.u32(call.attempt);
    w.u8(static_cast<std::uint8_t>(call.mode));
    w.u8(static_cast<std::uint8_t>(call.mapping));
    w.u8(static_cast<std::uint8_t>(call.candidates.size()));
    for (const Candidate& candidate : call.candidates) {
      w.u8(static_cast<std::uint8_t>(candidate.kind));
      write_endpoint(w, candidate.endpoint);
    }
  }
  void operator()(const UnknownMsg& unknown) const {
    w.u8(unknown.type);
    w.bytes(unknown.body);
  }
};

std::expected<CallMeMaybe, WireError> parse_call_me_maybe(Reader& reader) {
  CallMeMaybe call;
  call.round = reader.u32();
  call.attempt = reader.u32();
  const std::uint8_t mode = reader.u8();
  const std::uint8_t mapping = reader.u8();
  const std::size_t count = reader.u8();
  if (!reader.ok()) return std::unexpected(reader.error());
  if (mode < 1 || mode > static_cast<std::uint8_t>(PunchMode::Birthday) ||
      mapping > static_cast<std::uint8_t>(MappingBehaviour::Sequential))
    return std::unexpected(WireError::BadValue);
  if (count > CallMeMaybe::kMaxCandidates) return std::unexpected(WireError::TooLong);
  call.mode = static_cast<PunchMode>(mode);
  call.mapping = static_cast<MappingBehaviour>(mapping);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t kind = reader.u8();
    Candidate candidate{static_cast<CandidateKind>(kind), read_endpoint(reader)};
    if (!reader.ok()) return std::unexpected(reader.error());
    if (kind < 1 || kind > static_cast<std::uint8_t>(CandidateKind::Predicted))
      continue;  // of a later version
    call.candidates.push_back(candidate);
  }
  return call;
}

}  // namespace

std::string_view to_string(CandidateKind kind) {
  switch (kind) {
    case CandidateKind::Host:
      return "host";
    case CandidateKind::ServerReflexive:
      return "server-reflexive";
    case CandidateKind::Mapped:
      return "mapped";
    case CandidateKind::Predicted:
      return "predicted";
  }
  return "unknown";
}

std::string_view to_string(MappingBehaviour mapping) {
  switch (mapping) {
    case MappingBehaviour::Unknown:
      return "unknown";
    case MappingBehaviour::EndpointIndependent:
      return "endpoint-independent";
    case MappingBehaviour::Random:
      return "random";
    case MappingBehaviour::Sequential:
      return "sequential";
  }
  return "unknown";
}

std::string_view to_string(RejectReason reason) {
  switch (reason) {
    case RejectReason::AlreadyClaimed:
      return "already claimed";
    case RejectReason::Expired:
      return "expired";
    case RejectReason::WrongCapability:
      return "wrong capability";
    case RejectReason::WrongVersion:
      return "wrong version";
    case RejectReason::Declined:
      return "declined";
    case RejectReason::Busy:
      return "busy";
  }
  return "unknown";
}

Bytes serialize(const SessionMsg& message) {
  Bytes out;
  Writer writer(out);
  std::visit(Serializer{writer}, message);
  return out;
}

std::expected<SessionMsg, WireError> parse_session_msg(ByteView bytes) {
  Reader reader(bytes);
  const std::uint8_t type = reader.u8();
  if (!reader.ok()) return std::unexpected(reader.error());
  SessionMsg message;
  switch (type) {
    case kClaim: {
      Claim claim;
      claim.protocol_version = reader.u16();
      claim.capability = reader.u32();
      claim.receive_window = reader.u64();
      claim.aead_kinds = reader.u8();
      message = claim;
      break;
    }
    case kClaimAccepted: {
      ClaimAccepted accepted;
      accepted.protocol_version = reader.u16();
      accepted.receive_window = reader.u64();
      accepted.aead_kind = reader.u8();
      message = accepted;
      break;
    }
    case kClaimRejected: {
      const std::uint8_t reason = reader.u8();
      if (reader.ok() && (reason < 1 || reason > static_cast<std::uint8_t>(RejectReason::Busy)))
        return std::unexpected(WireError::BadValue);
      message = ClaimRejected{static_cast<RejectReason>(reason)};
      break;
    }
    case kClose: {
      Close close;
      close.code = reader.u16();
      const std::size_t size = reader.u8();
      if (size > Close::kMaxReason) return std::unexpected(WireError::TooLong);
      close.reason = as_text(reader.bytes(size));
      message = std::move(close);
      break;
    }
    case kRelayHint:
      message = RelayHint{reader.u8()};
      break;
    case kPing:
      message = Ping{};
      break;
    case kCommand: {
      const std::size_t size = reader.u16();
      if (size > CommandMsg::kMaxBody) return std::unexpected(WireError::TooLong);
      message = CommandMsg{to_bytes(reader.bytes(size))};
      break;
    }
    case kLanesWanted:
      message = LanesWanted{reader.u8()};
      break;
    case kSocketCapacity:
      message = SocketCapacity{reader.u64()};
      break;
    case kCallMeMaybe: {
      auto call = parse_call_me_maybe(reader);
      if (!call) return std::unexpected(call.error());
      message = std::move(*call);
      break;
    }
    default:
      message = UnknownMsg{type, to_bytes(reader.rest())};
      break;
  }
  if (!reader.ok()) return std::unexpected(reader.error());
  return message;
}

}  // namespace dh::wire
