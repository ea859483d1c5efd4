#pragma once

#include <cstddef>

#include "io/listen_socket.hh"

namespace dh::io {

/// Lets sockets made by bind_beside() share the port of `first`.
void share_port(const Fd& first);
/// Another UDP socket on the same address and port: a kernel buffer more, for another thread to drain. What
/// arrives is spread over them in the order they were made by steer_by_lane(), by a hash of the addresses
/// without it. Errors: as bind_udp.
Fd bind_beside(const Fd& first);
/// Datagrams of a bulk stream go to the socket of their lane (bulk::kMaxLanes of them, the first being the
/// one that was there first), all others to the first one. False: this kernel cannot (SO_REUSEPORT with a
/// filter: Linux 4.5).
bool steer_by_lane(const Fd& member);

}  // namespace dh::io
