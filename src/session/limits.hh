#pragma once

#include <cstddef>

#include "base/time.hh"

namespace dh::session {

// Every bound of a session, with its reason. Timers of handshake and control channel are in their own
// headers.

constexpr Duration kSecondRelayAfter =
    1s;  // dialer: the first relay should be up by then, else try the next too
constexpr Duration kSilenceSuspect =
    1500ms;                          // something is due and nothing came: the relay is suspect. Above any
                                     // sane relay round trip, below the 3 s promised for a fail-over
constexpr Duration kIdlePing = 10s;  // nothing heard: ask. A tenth of what home routers keep a mapping
constexpr Duration kPeerSilenceLimit = 30min;  // a suspended laptop comes back within it, a dead peer never
constexpr Duration kGoodbyeLimit = 2s;         // the peer is told within this, or never
constexpr Duration kClockTolerance = 5min;     // between two machines' wall clocks
constexpr Duration kFollowAfter = 250ms;  // the peer moved to another relay, not a late packet of the old one
constexpr unsigned kBulkRun = 16;  // packets of the stream between two looks at what else is to be sent
constexpr std::size_t kMaxCommandMessages =
    48;  // unacknowledged, of the channel's 64: the rest is kept for what the session itself has to say
// Of the stream at first, for transfers: what a receiver has taken from the network and not yet put on the
// disk is sent again when it is killed, so it is little where the disk is slower than the network. It grows
// on paths that need more (docs/protocol/bulk.md).
constexpr std::uint64_t kTransferWindow = 1u << 20;

}  // namespace dh::session
