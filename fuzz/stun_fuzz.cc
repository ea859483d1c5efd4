// STUN: classification and reply parsing never disagree with what they accept.
#include "base/check.hh"
#include "wire/stun.hh"
#include "wire/stun_behaviour.hh"

using namespace dh;
namespace stun = dh::wire::stun;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of the exact size, so that the sanitizer sees every read past its end.
  const Bytes datagram(reinterpret_cast<const std::byte*>(data),
                       reinterpret_cast<const std::byte*>(data) + size);

  const auto request = stun::classify(datagram);
  CHECK((request.kind == stun::RequestKind::NotStun) == !stun::has_header(datagram));
  if (request.kind == stun::RequestKind::Plain || request.kind == stun::RequestKind::Tailnode) {
    CHECK(equal_bytes(request.id, ByteView(datagram).subspan(8, 12)));
    CHECK(stun::classify(stun::make_request(request.id)).kind == stun::RequestKind::Tailnode);
    CHECK(!stun::parse_reply(datagram));
  }

  if (const auto reply = stun::parse_reply(datagram)) {
    const Bytes again = stun::make_reply(reply->id, reply->mapped);
    const auto parsed = stun::parse_reply(again);
    CHECK(parsed && parsed->id == reply->id && parsed->mapped == reply->mapped);
    CHECK(request.kind == stun::RequestKind::Unsupported);
  }

  if (const auto behaviour = stun::parse_behaviour_request(datagram)) {
    CHECK(stun::parse_behaviour_request(stun::make_behaviour_request(*behaviour)) == behaviour);
    CHECK(request.kind == stun::RequestKind::Plain || request.kind == stun::RequestKind::Tailnode ||
          request.kind == stun::RequestKind::Unsupported);
  }
  const auto reply = stun::parse_reply(datagram);
  const auto extended = stun::parse_behaviour_reply(datagram);
  CHECK(reply.has_value() == extended.has_value());
  if (extended) {
    CHECK(extended->id == reply->id && extended->mapped == reply->mapped);
    const Endpoint origin = extended->origin.value_or(Endpoint{});
    const Endpoint other = extended->other.value_or(Endpoint{});
    const auto again = stun::parse_behaviour_reply(
        stun::make_behaviour_reply(extended->id, extended->mapped, origin, other));
    CHECK(again && again->mapped == extended->mapped && again->origin == origin && again->other == other);
  }
  return 0;
}
