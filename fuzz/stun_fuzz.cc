// STUN: classification and reply parsing never disagree with what they accept.
#include "base/check.hh"
#include "wire/stun.hh"

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
  return 0;
}
