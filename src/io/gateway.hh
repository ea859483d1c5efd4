#pragma once

#include <optional>

#include "base/address.hh"

namespace dh::io {

/// The default gateway of one address family.
struct Gateway {
  IpAddress address;       // a link-local one with its zone
  IpAddress local;         // ours, what packets to the internet leave from
  unsigned interface = 0;  // the system's number
  bool operator==(const Gateway&) const = default;
};

/// The default route with the lowest metric in the kernel's main table (rtnetlink); empty without one, or
/// where it has no gateway (a VPN's or mobile network's point-to-point link). Sends nothing to the network.
std::optional<Gateway> default_gateway(bool v6);

/// Whether asking for a port mapping there makes sense: a home router, not a provider's or a cloud's.
bool may_map_ports(const Gateway& gateway);

}  // namespace dh::io
