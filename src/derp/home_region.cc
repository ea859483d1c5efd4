#include "derp/home_region.hh"

#include <algorithm>

namespace dh::derp {

void HomeRegion::set_map(const DerpMap& map) {
  scores_ = map.scores;
  excluded_.clear();
  for (const auto& [id, region] : map.regions)
    if (region.no_measure_no_home || !region.has_relay()) excluded_.insert(id);
  // What is no longer in the map must not be kept for ever; without any map all regions are acceptable.
  std::erase_if(demoted_until_, [&](const auto& entry) { return !map.regions.contains(entry.first); });
  std::erase_if(last_frame_, [&](const auto& entry) { return !map.regions.contains(entry.first); });
}

void HomeRegion::on_connect_failed(RegionId region, Instant now) {
  demoted_until_[region] = now + kDemotion;
}

bool HomeRegion::may_be_home(RegionId region, Instant now) const {
  if (excluded_.contains(region)) return false;
  const auto demoted = demoted_until_.find(region);
  return demoted == demoted_until_.end() || demoted->second <= now;
}

std::optional<Instant> HomeRegion::last_frame(RegionId region) const {
  const auto found = last_frame_.find(region);
  if (region == 0 || found == last_frame_.end()) return std::nullopt;
  return found->second;
}

RegionId HomeRegion::on_report(const std::map<RegionId, Duration>& latencies, Instant started, Instant now) {
  Report report{.at = now, .latencies = {}};
  for (const auto& [id, latency] : latencies) {
    if (!may_be_home(id, now)) continue;
    const auto score = scores_.find(id);
    const bool scored = score != scores_.end() && score->second > 0;
    report.latencies[id] = scored ? from_seconds(to_seconds(latency) * score->second) : latency;
  }
  reports_.push_back(report);
  while (reports_.size() > kMaxReports || now - reports_.front().at > kHistory) reports_.pop_front();

  // The best latency of each region that answered now, over the whole history: one slow answer says little.
  RegionId candidate = 0;
  Duration best_any{};
  for (const auto& [id, latency] : report.latencies) {
    Duration best = latency;
    for (const Report& old : reports_)
      if (const auto found = old.latencies.find(id); found != old.latencies.end())
        best = std::min(best, found->second);
    if (candidate == 0 || best < best_any) {
      candidate = id;
      best_any = best;
    }
  }

  const auto is_heard = [&](RegionId id) {
    const auto frame = last_frame(id);
    return frame && (*frame > started || *frame > now - kRecentFrame);
  };
  const RegionId previous = may_be_home(home_, now) ? home_ : 0;
  RegionId chosen = candidate;
  if (previous != 0 && candidate != previous) {
    const auto found = report.latencies.find(previous);
    const Duration old = found == report.latencies.end() ? Duration::zero() : found->second;
    const bool alive = old > Duration::zero() || is_heard(previous);
    const bool gains_little = old - best_any < kMinGain || best_any > old / 3 * 2;
    if (alive && gains_little) chosen = previous;
  }
  if (forced_ && (report.latencies.contains(*forced_) || is_heard(*forced_))) chosen = *forced_;
  if (chosen == 0) {
    const auto frame = last_frame(previous);
    if (frame && now - *frame < kKeepWithoutReport) chosen = previous;
  }
  home_ = chosen;
  return home_;
}

}  // namespace dh::derp
