#include "wire/pcp.hh"

namespace dh::wire::pcp {
namespace {

using Seconds = std::chrono::duration<std::uint32_t>;

constexpr std::uint8_t kReplyBit = 0x80;

bool is_protocol(std::uint8_t value) {
  return value == static_cast<std::uint8_t>(Protocol::Udp) ||
         value == static_cast<std::uint8_t>(Protocol::Tcp);
}

void write_mapping(Writer& w, const Mapping& mapping) {
  w.bytes(mapping.nonce);
  w.u8(static_cast<std::uint8_t>(mapping.protocol));
  w.zeros(3);
  w.u16(mapping.internal_port);
  w.u16(mapping.external_port);
  w.bytes(mapping.external_address.mapped());
}

std::expected<Mapping, WireError> read_mapping(Reader& r) {
  Mapping mapping;
  mapping.nonce = r.array<12>();
  const std::uint8_t protocol = r.u8();
  r.skip(3);  // reserved: ignored when received
  mapping.internal_port = r.u16();
  mapping.external_port = r.u16();
  mapping.external_address = IpAddress::v6(r.array<16>());
  if (!r.ok()) return std::unexpected(r.error());
  if (!is_protocol(protocol)) return std::unexpected(WireError::BadValue);
  mapping.protocol = static_cast<Protocol>(protocol);
  return mapping;
}

}  // namespace

std::string_view to_string(Result result) {
  switch (result) {
    case Result::Success:
      return "success";
    case Result::UnsupportedVersion:
      return "unsupported version";
    case Result::NotAuthorized:
      return "not authorized";
    case Result::MalformedRequest:
      return "malformed request";
    case Result::UnsupportedOpcode:
      return "unsupported opcode";
    case Result::UnsupportedOption:
      return "unsupported option";
    case Result::MalformedOption:
      return "malformed option";
    case Result::NetworkFailure:
      return "network failure";
    case Result::NoResources:
      return "no resources";
    case Result::UnsupportedProtocol:
      return "unsupported protocol";
    case Result::UserExceededQuota:
      return "quota exceeded";
    case Result::CannotProvideExternal:
      return "cannot provide that port";
    case Result::AddressMismatch:
      return "address mismatch";
    case Result::ExcessiveRemotePeers:
      return "too many remote peers";
  }
  return "unassigned result";
}

void Request::serialize(Writer& w) const {
  w.u8(kVersion);
  w.u8(static_cast<std::uint8_t>(mapping ? Opcode::Map : Opcode::Announce));
  w.zeros(2);
  w.u32(lifetime.count());
  w.bytes(client.mapped());
  if (mapping) write_mapping(w, *mapping);
}

std::expected<Request, WireError> Request::parse(ByteView datagram) {
  Reader r(datagram);
  Request request;
  const std::uint8_t version = r.u8();
  const std::uint8_t opcode = r.u8();
  r.skip(2);
  request.lifetime = Seconds(r.u32());
  request.client = IpAddress::v6(r.array<16>());
  if (!r.ok()) return std::unexpected(r.error());
  if (version != kVersion || (opcode & kReplyBit) != 0) return std::unexpected(WireError::BadMagic);
  if (datagram.size() > kMaxMessage) return std::unexpected(WireError::TooLong);
  if (opcode > static_cast<std::uint8_t>(Opcode::Map)) return std::unexpected(WireError::BadValue);
  if (opcode == static_cast<std::uint8_t>(Opcode::Map)) {
    const auto mapping = read_mapping(r);
    if (!mapping) return std::unexpected(mapping.error());
    request.mapping = *mapping;
  }
  if (r.remaining() != 0) return std::unexpected(WireError::BadValue);
  return request;
}

void Reply::serialize(Writer& w) const {
  w.u8(kVersion);
  w.u8(static_cast<std::uint8_t>(opcode | kReplyBit));
  w.u8(0);
  w.u8(static_cast<std::uint8_t>(result));
  w.u32(lifetime.count());
  w.u32(epoch.count());
  w.zeros(12);
  if (mapping) write_mapping(w, *mapping);
}

std::expected<Reply, WireError> Reply::parse(ByteView datagram) {
  Reader r(datagram);
  Reply reply;
  const std::uint8_t version = r.u8();
  const std::uint8_t opcode = r.u8();
  r.skip(1);
  reply.result = static_cast<Result>(r.u8());
  reply.lifetime = Seconds(r.u32());
  reply.epoch = Seconds(r.u32());
  r.skip(12);
  if (!r.ok()) return std::unexpected(r.error());
  if (version != kVersion || (opcode & kReplyBit) == 0) return std::unexpected(WireError::BadMagic);
  if (datagram.size() > kMaxMessage) return std::unexpected(WireError::TooLong);
  if (datagram.size() % 4 != 0) return std::unexpected(WireError::BadValue);
  reply.opcode = static_cast<std::uint8_t>(opcode & ~kReplyBit);
  const bool granted = reply.result == Result::Success;
  if (reply.opcode == static_cast<std::uint8_t>(Opcode::Map)) {
    const auto mapping = read_mapping(r);
    if (mapping) {
      reply.mapping = *mapping;
    } else if (granted) {
      return std::unexpected(mapping.error());
    }
  } else if (granted && reply.opcode != static_cast<std::uint8_t>(Opcode::Announce)) {
    return std::unexpected(WireError::BadValue);
  }
  return reply;
}

}  // namespace dh::wire::pcp
