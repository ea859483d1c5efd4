#pragma once

#include "io/netcheck_driver.hh"

namespace dh::io {

/// Asks the default gateway for a mapping of `internal_port` by PCP, NAT-PMP and UPnP, reports, and deletes
/// what it got. Empty where there is no gateway that should be asked. Takes at most `budget`.
asio::awaitable<std::optional<path::PortMappingReport>> check_port_mapping(std::uint16_t internal_port,
                                                                           Duration budget);

}  // namespace dh::io
