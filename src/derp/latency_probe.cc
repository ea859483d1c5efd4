#include "derp/latency_probe.hh"

#include <algorithm>

namespace dh::derp {
namespace {

constexpr Duration kAnswerWait = 300ms;  // after the last try: the far side of the world, once
constexpr Duration kMinimumTail = 30ms;  // an answer this much later than the best is still worth having

}  // namespace

LatencyProbe::LatencyProbe(const DerpMap& map, const LatencyProbeConfig& config, Instant now, Rng& rng)
    : map_(map), config_(config), rng_(rng), started_(now), next_start_(now) {
  for (const ProbeSet& set : make_full_plan(map, config.families)) {
    if (regions_.empty() || regions_.back().id != set.region) regions_.emplace_back().id = set.region;
    for (const Probe& probe : set.probes) regions_.back().steps.push_back({probe, set.ipv6});
  }
  for (Region& region : regions_) {
    std::stable_sort(region.steps.begin(), region.steps.end(),
                     [](const Step& a, const Step& b) { return a.probe.delay < b.probe.delay; });
  }
}

void LatencyProbe::start_region(Region& region, Instant now) {
  region.state = State::Open;
  region.started = now;
  region.closes = now + region.steps.back().probe.delay + kAnswerWait;
  next_start_ = now + config_.stagger;
  const auto& nodes = map_.regions.at(region.id).nodes;
  for (const Step& step : region.steps) {
    const DerpNode& node = nodes[step.probe.node];
    const NodeAddress& address = step.ipv6 ? node.ipv6 : node.ipv4;
    if (node.stun_test_ip || address.kind != NodeAddress::Kind::Resolve) continue;
    if (region.resolved.try_emplace(step.probe.node, std::nullopt).second)
      to_resolve_.push_back({region.id, step.probe.node, node.host_name});
  }
}

void LatencyProbe::advance(Instant now) {
  std::size_t in_flight = 0;
  for (Region& region : regions_) {
    if (region.state == State::Open && (region.best || region.closes <= now)) region.state = State::Closed;
    if (region.state == State::Open) ++in_flight;
  }
  for (Region& region : regions_) {
    if (in_flight >= config_.max_parallel || next_start_ > now) return;
    if (region.state != State::Waiting) continue;
    start_region(region, now);
    ++in_flight;
  }
}

// True while DNS has not answered for the node of this step.
bool LatencyProbe::is_pending(const Region& region, const Step& step) const {
  const auto found = region.resolved.find(step.probe.node);
  const DerpNode& node = map_.regions.at(region.id).nodes[step.probe.node];
  const NodeAddress& address = step.ipv6 ? node.ipv6 : node.ipv4;
  return !node.stun_test_ip && address.kind == NodeAddress::Kind::Resolve && found != region.resolved.end() &&
         !found->second;
}

std::optional<Endpoint> LatencyProbe::target(const Region& region, const Step& step) const {
  const DerpNode& node = map_.regions.at(region.id).nodes[step.probe.node];
  if (!node.stun_port) return std::nullopt;
  if (node.stun_test_ip) return Endpoint{*node.stun_test_ip, *node.stun_port};
  const NodeAddress& address = step.ipv6 ? node.ipv6 : node.ipv4;
  if (address.kind == NodeAddress::Kind::Fixed) return Endpoint{address.address, *node.stun_port};
  const auto found = region.resolved.find(step.probe.node);
  if (found == region.resolved.end() || !found->second) return std::nullopt;
  for (const IpAddress& ip : *found->second)
    if (ip.is_v6() == step.ipv6) return Endpoint{ip, *node.stun_port};
  return std::nullopt;
}

void LatencyProbe::on_resolved(RegionId id, std::size_t node, const std::vector<IpAddress>& addresses) {
  for (Region& region : regions_) {
    const auto found = region.id == id ? region.resolved.find(node) : region.resolved.end();
    if (found != region.resolved.end()) found->second = addresses;
  }
}

std::optional<LatencyProbe::Transmit> LatencyProbe::poll_transmit(Instant now) {
  advance(now);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    Region& region = regions_[i];
    if (region.state != State::Open) continue;
    while (region.next < region.steps.size()) {
      const Step& step = region.steps[region.next];
      if (region.started + step.probe.delay > now || is_pending(region, step)) break;
      ++region.next;
      const auto to = target(region, step);
      if (!to) continue;
      wire::stun::TransactionId id;
      rng_.fill(id);
      sent_[id] = Sent{.region = i, .node = step.probe.node, .to = *to, .at = now};
      ++counters_.sent;
      return Transmit{.to = *to, .datagram = to_bytes(wire::stun::make_request(id))};
    }
  }
  return std::nullopt;
}

std::optional<LatencyProbe::Resolve> LatencyProbe::poll_resolve() {
  if (to_resolve_.empty()) return std::nullopt;
  Resolve next = std::move(to_resolve_.front());
  to_resolve_.pop_front();
  return next;
}

void LatencyProbe::on_datagram(ByteView datagram, const Endpoint& from, Instant now) {
  const auto reply = wire::stun::parse_reply(datagram);
  const auto found = reply ? sent_.find(reply->id) : sent_.end();
  // Only the server we asked knows the id; one that answers from elsewhere is behind something odd.
  if (found == sent_.end() || found->second.to != from) {
    ++counters_.foreign;
    return;
  }
  const Sent sent = found->second;
  sent_.erase(found);
  ++counters_.answers;
  Region& region = regions_[sent.region];
  const RegionLatency measured{region.id, std::max(now - sent.at, Duration(1)), sent.node};
  if (!region.best || measured.latency < region.best->latency) region.best = measured;
}

// When enough is known: everyone was asked, and whoever is still silent is farther than the best few.
std::optional<Instant> LatencyProbe::stop_at() const {
  const auto is_waiting = [](const Region& region) { return region.state == State::Waiting; };
  if (std::any_of(regions_.begin(), regions_.end(), is_waiting)) return std::nullopt;
  const std::vector<RegionLatency> best = results();
  const std::size_t enough = std::min(config_.enough, regions_.size());
  if (best.size() < enough || enough == 0) return std::nullopt;
  Instant last_start = started_;
  for (const Region& region : regions_) last_start = std::max(last_start, region.started);
  return std::min(started_ + config_.enough_after,
                  last_start + std::max(2 * best[enough - 1].latency, kMinimumTail));
}

bool LatencyProbe::is_finished(Instant now) const {
  if (now >= started_ + config_.budget) return true;
  const auto is_done = [](const Region& region) {
    return region.best.has_value() || region.state == State::Closed;
  };
  if (std::all_of(regions_.begin(), regions_.end(), is_done)) return true;
  if (now >= started_ + config_.enough_after && results().size() >= config_.enough) return true;
  return is_due(stop_at(), now);
}

std::optional<Instant> LatencyProbe::next_timeout(Instant now) const {
  if (is_finished(now)) return std::nullopt;
  std::optional<Instant> next = started_ + config_.budget;
  next = earlier(next, stop_at());
  if (now < started_ + config_.enough_after) next = earlier(next, started_ + config_.enough_after);
  std::size_t in_flight = 0;
  bool waiting = false;
  for (const Region& region : regions_) {
    waiting = waiting || region.state == State::Waiting;
    if (region.state != State::Open) continue;
    if (!region.best) ++in_flight;
    next = earlier(next, region.closes);
    if (region.next >= region.steps.size()) continue;
    const Step& step = region.steps[region.next];
    if (!is_pending(region, step)) next = earlier(next, region.started + step.probe.delay);
  }
  if (waiting && in_flight < config_.max_parallel) next = earlier(next, next_start_);
  return next;
}

std::vector<RegionLatency> LatencyProbe::results() const {
  std::vector<RegionLatency> out;
  for (const Region& region : regions_)
    if (region.best) out.push_back(*region.best);
  std::stable_sort(out.begin(), out.end(),
                   [](const RegionLatency& a, const RegionLatency& b) { return a.latency < b.latency; });
  return out;
}

}  // namespace dh::derp
