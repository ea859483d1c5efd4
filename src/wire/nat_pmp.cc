#include "wire/nat_pmp.hh"

namespace dh::wire::nat_pmp {
namespace {

using Seconds = std::chrono::duration<std::uint32_t>;

constexpr std::uint8_t kAddressOpcode = 0;
constexpr std::uint8_t kReplyBit = 0x80;

void write_reply_head(Writer& w, std::uint8_t opcode, Result result, Seconds epoch) {
  w.u8(kVersion);
  w.u8(static_cast<std::uint8_t>(opcode | kReplyBit));
  w.u16(static_cast<std::uint16_t>(result));
  w.u32(epoch.count());
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
    case Result::NetworkFailure:
      return "network failure";
    case Result::OutOfResources:
      return "out of resources";
    case Result::OpcodeUnsupported:
      return "unsupported opcode";
  }
  return "unassigned result";
}

void AddressRequest::serialize(Writer& w) const {
  w.u8(kVersion);
  w.u8(kAddressOpcode);
}

void MapRequest::serialize(Writer& w) const {
  w.u8(kVersion);
  w.u8(static_cast<std::uint8_t>(transport));
  w.zeros(2);
  w.u16(internal_port);
  w.u16(external_port);
  w.u32(lifetime.count());
}

std::expected<Request, WireError> parse_request(ByteView datagram) {
  Reader r(datagram);
  const std::uint8_t version = r.u8();
  const std::uint8_t opcode = r.u8();
  if (!r.ok()) return std::unexpected(r.error());
  if (version != kVersion || (opcode & kReplyBit) != 0) return std::unexpected(WireError::BadMagic);
  if (opcode == kAddressOpcode) {
    if (r.remaining() != 0) return std::unexpected(WireError::TooLong);
    return AddressRequest{};
  }
  if (opcode > static_cast<std::uint8_t>(Transport::Tcp)) return std::unexpected(WireError::BadValue);
  MapRequest request;
  request.transport = static_cast<Transport>(opcode);
  r.skip(2);  // reserved: ignored when received
  request.internal_port = r.u16();
  request.external_port = r.u16();
  request.lifetime = Seconds(r.u32());
  if (!r.ok()) return std::unexpected(r.error());
  if (r.remaining() != 0) return std::unexpected(WireError::TooLong);
  return request;
}

void AddressReply::serialize(Writer& w) const {
  write_reply_head(w, kAddressOpcode, Result::Success, epoch);
  w.bytes(external.v4_bytes());
}

void MapReply::serialize(Writer& w) const {
  write_reply_head(w, static_cast<std::uint8_t>(transport), Result::Success, epoch);
  w.u16(internal_port);
  w.u16(external_port);
  w.u32(lifetime.count());
}

void Refusal::serialize(Writer& w) const {
  write_reply_head(w, opcode, result, epoch);
}

std::expected<Reply, WireError> parse_reply(ByteView datagram) {
  Reader r(datagram);
  const std::uint8_t version = r.u8();
  const std::uint8_t reply_opcode = r.u8();
  const auto result = static_cast<Result>(r.u16());
  const Seconds epoch(r.u32());
  if (!r.ok()) return std::unexpected(r.error());
  if (version != kVersion || (reply_opcode & kReplyBit) == 0) return std::unexpected(WireError::BadMagic);
  const auto opcode = static_cast<std::uint8_t>(reply_opcode & ~kReplyBit);
  if (result != Result::Success) return Refusal{.opcode = opcode, .result = result, .epoch = epoch};
  if (opcode == kAddressOpcode) {
    AddressReply reply;
    reply.epoch = epoch;
    reply.external = IpAddress::v4(r.array<4>());
    if (!r.ok()) return std::unexpected(r.error());
    return reply;
  }
  if (opcode > static_cast<std::uint8_t>(Transport::Tcp)) return std::unexpected(WireError::BadValue);
  MapReply reply;
  reply.transport = static_cast<Transport>(opcode);
  reply.epoch = epoch;
  reply.internal_port = r.u16();
  reply.external_port = r.u16();
  reply.lifetime = Seconds(r.u32());
  if (!r.ok()) return std::unexpected(r.error());
  return reply;
}

}  // namespace dh::wire::nat_pmp
