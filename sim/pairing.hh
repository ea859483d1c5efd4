#pragma once

#include "session/session.hh"

namespace dh::sim {

/// Both ends' configurations for one session: the listener receives, the dialer has its token.
struct Pairing {
  session::SessionConfig listener, dialer;
};
Pairing make_pairing(Rng& rng, std::size_t relays, UnixSeconds wall);

}  // namespace dh::sim
