#pragma once

// The small values the parts of path/ hand each other.

#include <cstdint>
#include <string_view>

#include "base/address.hh"
#include "base/time.hh"

namespace dh::path {

/// A UDP socket of the shell. 0 is IPv4, 1 is IPv6; extra ones are opened on request and numbered upwards,
/// no number is used twice in a session.
using SocketId = std::uint32_t;
inline constexpr SocketId kSocketV4 = 0;
inline constexpr SocketId kSocketV6 = 1;
inline constexpr SocketId kFirstExtraSocket = 2;

/// Better first.
enum class Tier : std::uint8_t {
  Lan,     // the peer is in a network of ours
  Direct,  // through routers
};
std::string_view to_string(Tier tier);

/// A direct way to the peer that works.
struct Route {
  SocketId socket = 0;
  Endpoint remote;
  Tier tier = Tier::Direct;
  Duration rtt{};
  std::size_t datagram_bytes = 0;  // what it is known to carry
};

/// One datagram to send; its bytes are in the buffer the caller gave.
struct Transmit {
  SocketId socket = 0;
  Endpoint to;
  std::size_t size = 0;
  std::uint8_t ttl = 0;   // hops; 0: the system's default
  std::uint8_t lane = 0;  // of the stream's packets: which thread may seal it
};

}  // namespace dh::path
