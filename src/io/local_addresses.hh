#pragma once

#include <optional>
#include <vector>

#include "base/address.hh"
#include "path/destination_filter.hh"

namespace dh::io {

/// Addresses of this machine that another one on its network could dial, best first: global and private
/// before loopback; link-local IPv6 left out (it needs a zone the other side cannot know). Never empty on a
/// machine with `lo`.
std::vector<IpAddress> local_addresses();

/// The same with the length of each network's prefix and the interface's MTU.
std::vector<path::LocalAddress> local_networks();

/// What decides where packets of this machine leave: its addresses, and the one it would use towards the
/// internet in each family. Changes when the uplink does. Sends nothing.
struct NetworkState {
  std::vector<path::LocalAddress> addresses;
  std::optional<IpAddress> uplink_v4, uplink_v6;
  bool operator==(const NetworkState&) const = default;
};
NetworkState network_state();

}  // namespace dh::io
