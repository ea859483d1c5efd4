#pragma once

#include <expected>
#include <string>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "base/time.hh"

namespace dh::io {

struct RaceOptions {
  bool prefer_ipv6 = false;  // IPv4 starts kFamilyStagger later
  Duration family_stagger = 200ms;
  Duration next_address = 1500ms;  // the family's next address starts then, or when this one fails
};

/// Races TCP connections to `addresses`, both families at once; within a family in the given order. A slow
/// attempt is not given up when the next starts: the first connection of all wins, the others are closed.
/// The winner has its socket options set (see docs/protocol/derp-dialing.md).
/// Errors: what happened to each address, e.g. "192.0.2.1: Connection refused; 2001:db8::1: no answer".
boost::asio::awaitable<std::expected<boost::asio::ip::tcp::socket, std::string>> connect_race(
    std::vector<IpAddress> addresses, std::uint16_t port, RaceOptions options, Instant deadline);

}  // namespace dh::io
