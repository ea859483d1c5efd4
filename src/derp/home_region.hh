#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>

#include "base/time.hh"
#include "derp/derp_map.hh"

namespace dh::derp {

/// Chooses the region whose relay we stay connected to, from repeated measurements, and does not flap: a new
/// region must be clearly better, and a home that still delivers frames is kept even when STUN to it is lost.
/// Pure. Spec: docs/protocol/derp-map.md "Home region". Does not measure, dial or count nodes.
class HomeRegion {
public:
  static constexpr Duration kHistory = 5min + 5s;       // best latency is over reports this old
  static constexpr Duration kRecentFrame = 8s;          // home counts as alive this long after a frame
  static constexpr Duration kKeepWithoutReport = 120s;  // no report has anything: home stays this long
  static constexpr Duration kMinGain = 10ms;            // smaller differences are noise
  static constexpr Duration kDemotion = 5min;           // a region whose relay could not be reached sits out
  static constexpr std::size_t kMaxReports = 64;        // 5 min of reports 5 s apart

  /// Scores, and who may not become home: NoMeasureNoHome regions and those without a relay.
  void set_map(const DerpMap& map);
  /// Takes this region whenever it answers; empty: none forced.
  void force(std::optional<RegionId> region) { forced_ = region; }
  /// A frame came from the relay of `region`.
  void on_frame(RegionId region, Instant now) { last_frame_[region] = now; }
  /// STUN may work where TCP does not: the region sits out for kDemotion.
  void on_connect_failed(RegionId region, Instant now);
  /// One measurement run, from `started` to `now`. Returns home(); 0 when there is none.
  RegionId on_report(const std::map<RegionId, Duration>& latencies, Instant started, Instant now);

  RegionId home() const { return home_; }
  std::size_t reports_kept() const { return reports_.size(); }

private:
  struct Report {
    Instant at;
    std::map<RegionId, Duration> latencies;  // score applied
  };
  bool may_be_home(RegionId region, Instant now) const;
  std::optional<Instant> last_frame(RegionId region) const;

  RegionId home_ = 0;
  std::optional<RegionId> forced_;
  std::map<RegionId, double> scores_;
  std::set<RegionId> excluded_;
  std::map<RegionId, Instant> demoted_until_;
  std::map<RegionId, Instant> last_frame_;
  std::deque<Report> reports_;
};

}  // namespace dh::derp
