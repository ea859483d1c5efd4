#pragma once

// SSDP (UPnP Device Architecture §1.3): the question for a gateway's UPnP service and the place its answer
// names. docs/protocol/port-mapping.md.

#include <expected>
#include <string>
#include <string_view>

#include "base/bytes.hh"

namespace dh::wire::ssdp {

inline constexpr std::uint16_t kPort = 1900;
inline constexpr std::string_view kGatewayType = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
inline constexpr std::string_view kEverything = "ssdp:all";  // some routers answer only this one
inline constexpr std::size_t kMaxAnswer = 4096;              // bytes; real ones are under 600

std::string make_search(std::string_view target);

struct Answer {
  std::string location;       // URL of the device's description
  std::string search_target;  // what it answers as
  bool is_gateway() const;    // a router, not a television
};
/// Errors: BadMagic for anything but an HTTP 200 answer, BadValue without a LOCATION, TooLong.
std::expected<Answer, WireError> parse_answer(ByteView datagram);

}  // namespace dh::wire::ssdp
