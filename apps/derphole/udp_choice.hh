#pragma once

#include "io/udp_sockets.hh"
#include "session/session.hh"

namespace dh::app {

/// What kernel and threads do for the direct paths: everything that works here, unless the environment says
/// otherwise (for machines where it goes wrong, and to measure what it is worth). DERPHOLE_UDP_OFFLOAD=off:
/// no UDP_SEGMENT, no UDP_GRO. DERPHOLE_UDP_THREADS=on or off: a thread of its own that seals and sends, or
/// receives and opens; unset: with three cores or more. Errors: CommandError(Usage) for any other value.
io::UdpOffload udp_offload_from_environment();

/// Of these threads, those that this session uses: where its bulk goes. Lanes that somebody asked for get
/// their threads however few cores there are.
io::UdpOffload for_session(io::UdpOffload offload, const session::SessionConfig& session);

}  // namespace dh::app
