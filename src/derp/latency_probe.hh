#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "derp/probe_plan.hh"
#include "wire/stun.hh"

namespace dh::derp {

struct LatencyProbeConfig {
  UsableFamilies families;
  Duration budget = 2500ms;      // finished at the latest then
  Duration enough_after = 1s;    // finished then if `enough` regions have answered
  std::size_t enough = 3;        // regions: two for a token and one to spare
  std::size_t max_parallel = 8;  // regions in flight: a guest does not storm a fleet
  Duration stagger = 20ms;       // between the starts of two regions
};

/// One run of STUN requests over all regions of a map (the full plan), a few regions at a time. Pure: no
/// socket, clock or resolver.
/// Contract: after every input, drain poll_transmit and poll_resolve; sleep until next_timeout. Finished once
/// is_finished(now); results() may be read at any time. `map` must outlive it.
/// Spec: docs/protocol/derp-map.md "Measuring".
class LatencyProbe {
public:
  LatencyProbe(const DerpMap& map, const LatencyProbeConfig& config, Instant now, Rng& rng);

  struct Transmit {
    Endpoint to;
    Bytes datagram;
  };
  struct Resolve {
    RegionId region = 0;
    std::size_t node = 0;
    std::string host;
  };
  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t answers = 0;
    std::uint64_t foreign = 0;  // datagrams that answer nothing we sent, or come from elsewhere
  };

  // Inputs.
  void on_datagram(ByteView datagram, const Endpoint& from, Instant now);
  /// What DNS says; empty when it fails. Addresses of a family the node has off are not used.
  void on_resolved(RegionId region, std::size_t node, const std::vector<IpAddress>& addresses);
  // Outputs.
  std::optional<Transmit> poll_transmit(Instant now);
  std::optional<Resolve> poll_resolve();
  std::optional<Instant> next_timeout(Instant now) const;
  bool is_finished(Instant now) const;
  /// Regions that answered, nearest first.
  std::vector<RegionLatency> results() const;
  const Counters& counters() const { return counters_; }

private:
  struct Step {
    Probe probe;
    bool ipv6 = false;
  };
  // Waiting --slot free, stagger over--> Open --answered, or silent for long--> Closed
  // An answer counts in Closed as well, until the run is finished.
  enum class State : std::uint8_t { Waiting, Open, Closed };
  struct Region {
    RegionId id = 0;
    State state = State::Waiting;
    std::vector<Step> steps;  // by delay
    std::size_t next = 0;     // of steps
    Instant started;
    Instant closes;
    std::map<std::size_t, std::optional<std::vector<IpAddress>>> resolved;  // nodes DNS was asked for
    std::optional<RegionLatency> best;
  };
  struct Sent {
    std::size_t region = 0;  // index into regions_
    std::size_t node = 0;
    Endpoint to;
    Instant at;
  };

  void advance(Instant now);
  void start_region(Region& region, Instant now);
  bool is_pending(const Region& region, const Step& step) const;
  std::optional<Endpoint> target(const Region& region, const Step& step) const;
  std::optional<Instant> stop_at() const;

  const DerpMap& map_;
  LatencyProbeConfig config_;
  Rng& rng_;
  Instant started_;
  Instant next_start_;
  std::vector<Region> regions_;
  std::map<wire::stun::TransactionId, Sent> sent_;
  std::deque<Resolve> to_resolve_;
  Counters counters_;
};

}  // namespace dh::derp
