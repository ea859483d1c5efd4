#include "wire/stun_behaviour.hh"

#include <algorithm>

#include "wire/stun.hh"

namespace dh::wire::stun {
namespace {

constexpr std::uint16_t kBindingRequest = 0x0001;
constexpr std::uint16_t kBindingSuccess = 0x0101;
constexpr std::uint32_t kCookie = 0x2112a442;
constexpr std::uint16_t kChangeRequest = 0x0003;
constexpr std::uint16_t kXorMappedAddress = 0x0020;
constexpr std::uint16_t kFirstOptional = 0x8000;  // from here on a receiver may skip what it does not know
constexpr std::uint16_t kResponseOrigin = 0x802b;
constexpr std::uint16_t kOtherAddress = 0x802c;
constexpr std::uint32_t kChangeAddressBit = 4;
constexpr std::uint32_t kChangePortBit = 2;

// `mask`: cookie and transaction id, or zeros for an address in the clear.
void write_address(Writer& w, std::uint16_t type, const Endpoint& endpoint, const ByteArray<16>& mask) {
  const bool v4 = endpoint.address.is_v4();
  w.u16(type);
  w.u16(v4 ? 8 : 20);
  w.u8(0);
  w.u8(v4 ? 1 : 2);
  const auto port_mask = static_cast<std::uint16_t>(load_be32(mask.data()) >> 16);
  w.u16(static_cast<std::uint16_t>(endpoint.port ^ port_mask));
  const ByteView address = ByteView(endpoint.address.mapped()).subspan(v4 ? 12 : 0);
  for (std::size_t i = 0; i < address.size(); ++i) w.u8(static_cast<std::uint8_t>(address[i] ^ mask[i]));
}

// An address in the clear, as RESPONSE-ORIGIN and OTHER-ADDRESS have it.
std::optional<Endpoint> read_address(ByteView value) {
  Reader r(value);
  r.skip(1);
  const std::uint8_t family = r.u8();
  Endpoint out;
  out.port = r.u16();
  if (family == 1)
    out.address = IpAddress::v4(r.array<4>());
  else if (family == 2)
    out.address = IpAddress::v6(r.array<16>());
  else
    return std::nullopt;
  return r.ok() ? std::optional(out) : std::nullopt;
}

}  // namespace

std::optional<BehaviourRequest> parse_behaviour_request(ByteView datagram) {
  Reader r(datagram);
  const std::uint16_t type = r.u16();
  const std::uint16_t length = r.u16();
  const std::uint32_t cookie = r.u32();
  BehaviourRequest request;
  request.id = r.array<12>();
  if (!r.ok() || type != kBindingRequest || cookie != kCookie || length != r.remaining()) return std::nullopt;
  while (r.remaining() != 0) {
    const std::uint16_t attribute = r.u16();
    const std::uint16_t size = r.u16();
    Reader value(r.bytes(size));
    r.skip((4u - size % 4u) % 4u);
    if (!r.ok()) return std::nullopt;
    if (attribute == kChangeRequest) {
      const std::uint32_t flags = value.u32();
      if (size != 4 || (flags & ~(kChangeAddressBit | kChangePortBit)) != 0) return std::nullopt;
      request.change_address = (flags & kChangeAddressBit) != 0;
      request.change_port = (flags & kChangePortBit) != 0;
    } else if (attribute < kFirstOptional) {
      return std::nullopt;
    }
  }
  return request;
}

Bytes make_behaviour_reply(const ByteArray<12>& id, const Endpoint& source, const Endpoint& origin,
                           const Endpoint& other) {
  ByteArray<16> mask{};
  store_be32(mask.data(), kCookie);
  std::ranges::copy(id, mask.begin() + 4);
  Bytes attributes;
  Writer a(attributes);
  write_address(a, kXorMappedAddress, source, mask);
  write_address(a, kResponseOrigin, origin, {});
  write_address(a, kOtherAddress, other, {});
  Bytes out;
  Writer w(out);
  w.u16(kBindingSuccess);
  w.u16(static_cast<std::uint16_t>(attributes.size()));
  w.bytes(mask);
  w.bytes(attributes);
  return out;
}

Bytes make_behaviour_request(const BehaviourRequest& request) {
  const bool change = request.change_address || request.change_port;
  Bytes out;
  Writer w(out);
  w.u16(kBindingRequest);
  w.u16(change ? 8 : 0);
  w.u32(kCookie);
  w.bytes(request.id);
  if (!change) return out;
  w.u16(kChangeRequest);
  w.u16(4);
  w.u32((request.change_address ? kChangeAddressBit : 0) | (request.change_port ? kChangePortBit : 0));
  return out;
}

std::expected<BehaviourReply, WireError> parse_behaviour_reply(ByteView datagram) {
  const auto reply = parse_reply(datagram);
  if (!reply) return std::unexpected(reply.error());
  BehaviourReply out;
  out.id = reply->id;
  out.mapped = reply->mapped;
  const std::size_t length = Reader(datagram.subspan(2)).u16();  // parse_reply() has checked it
  Reader r(datagram.subspan(kHeaderSize, length));
  while (r.remaining() != 0) {
    const std::uint16_t attribute = r.u16();
    const std::uint16_t size = r.u16();
    const ByteView value = r.bytes(size);
    if (!r.ok()) break;
    if (attribute == kResponseOrigin && !out.origin) out.origin = read_address(value);
    if (attribute == kOtherAddress && !out.other) out.other = read_address(value);
    r.skip(std::min<std::size_t>((4u - size % 4u) % 4u, r.remaining()));
  }
  return out;
}

}  // namespace dh::wire::stun
