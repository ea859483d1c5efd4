#include "wire/session_msg.hh"

#include <algorithm>

namespace dh::wire {
namespace {

enum Type : std::uint8_t {
  kClaim = 1,
  kClaimAccepted = 2,
  kClaimRejected = 3,
  kClose = 4,
  kRelayHint = 5,
  kPing = 6,
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
  void operator()(const UnknownMsg& unknown) const {
    w.u8(unknown.type);
    w.bytes(unknown.body);
  }
};

}  // namespace

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
    default:
      message = UnknownMsg{type, to_bytes(reader.rest())};
      break;
  }
  if (!reader.ok()) return std::unexpected(reader.error());
  return message;
}

}  // namespace dh::wire
