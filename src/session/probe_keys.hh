#pragma once

#include "path/prober.hh"
#include "session/handshake.hh"

namespace dh::session {

/// What one end of a session seals its path probes with. `dialer`, `listener`: their keys on the relays.
path::ProbeKeys probe_keys(const SessionKeys& keys, const PublicKey& dialer, const PublicKey& listener);

}  // namespace dh::session
