#pragma once

// From measured regions to the one or two relays a token names. Pure. Spec: docs/protocol/derp-map.md
// "Selection".

#include <optional>
#include <vector>

#include "base/time.hh"
#include "derp/probe_plan.hh"
#include "session/token.hh"

namespace dh::session {

using derp::RegionLatency;

/// A node as a token can carry it. Empty where a token cannot say how to reach it safely: STUN only, another
/// certificate name (without pin), an unverified certificate, both families off.
std::optional<RelayRef> relay_ref(derp::RegionId region, const derp::DerpNode& node);

/// Candidates best first: for each region by latency times score its best relay (the node that answered, else
/// the first usable), then the second-best relays in the same order. NoMeasureNoHome regions never appear.
/// A token takes the first two: those of the two nearest regions, or both of the only one.
std::vector<RelayRef> rank_relays(const derp::DerpMap& map, const std::vector<RegionLatency>& measured);

}  // namespace dh::session
