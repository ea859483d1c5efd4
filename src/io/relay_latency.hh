#pragma once

// How far away each region of a DERP map is: STUN round trips, or TLS connect times where UDP is blocked.

#include <vector>

#include "derp/derp_map.hh"
#include "io/dial.hh"
#include "session/relay_pick.hh"

namespace dh::io {

struct RelayLatencyOptions {
  DialOptions dial;              // for the TLS fallback
  Duration budget = 2500ms;      // the answer comes at the latest after this
  Duration enough_after = 1s;    // ... and after this once `enough` regions have answered
  std::size_t enough = 3;        // regions
  Duration tls_after = 400ms;    // no UDP answer until then: TLS connects start beside it
  std::size_t max_parallel = 8;  // regions in flight; guests do not storm a fleet
  Duration stagger = 20ms;       // between the starts of two regions
};

struct RelayLatencies {
  std::vector<session::RegionLatency> regions;  // nearest first
  bool udp = false;  // STUN answered; otherwise the times are TCP and TLS set-up, some three round trips
};

/// Measures every region but NoMeasureNoHome ones, at most three STUN requests 100 ms apart each (tailnode
/// form, which is all that derper answers). Empty when nothing answered. Never takes longer than `budget`.
asio::awaitable<RelayLatencies> measure_relays(derp::DerpMap map, RelayLatencyOptions options);

}  // namespace dh::io
