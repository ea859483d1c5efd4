#pragma once

#include <vector>

#include "base/address.hh"

namespace dh::io {

/// Addresses of this machine that another one on its network could dial, best first: global and private
/// before loopback; link-local IPv6 left out (it needs a zone the other side cannot know). Never empty on a
/// machine with `lo`.
std::vector<IpAddress> local_addresses();

}  // namespace dh::io
