#include "path/route_choice.hh"

#include <algorithm>

namespace dh::path {
namespace {

Duration cost(const Pair& pair) {
  return pair.rtt.value_or(Duration::zero()) - (pair.remote.address.is_v6() ? kIpv6Bonus : Duration::zero());
}

bool failed_lately(const Pair& pair, Instant now) {
  return pair.failed_at && now - *pair.failed_at < kFailureMemory;
}

// Whether `a` is to be preferred to `b` with nothing in use.
bool better(const Pair& a, const Pair& b, Instant now) {
  if (a.tier != b.tier) return a.tier < b.tier;
  const bool a_failed = failed_lately(a, now), b_failed = failed_lately(b, now);
  if (a_failed != b_failed) return b_failed;
  return cost(a) < cost(b);
}

// Whether leaving `present` for `other` is worth a switch.
bool worth_it(const Pair& other, const Pair& present, Instant now) {
  if (other.tier != present.tier) return other.tier < present.tier && !failed_lately(other, now);
  Duration margin = std::max<Duration>(kBetterBy, present.rtt.value_or(Duration::zero()) / 10);
  if (failed_lately(other, now)) margin *= 2;
  return cost(other) + margin < cost(present);
}

}  // namespace

bool RouteChoice::is_barred(const Pair& pair, Instant now) const {
  return std::any_of(bars_.begin(), bars_.end(), [&](const Bar& bar) {
    return bar.socket == pair.socket && bar.remote == pair.remote && bar.until > now;
  });
}

void RouteChoice::on_stalled(Instant now) {
  if (!current_) return;
  auto bar = std::find_if(bars_.begin(), bars_.end(), [&](const Bar& known) {
    return known.socket == current_->socket && known.remote == current_->remote;
  });
  if (bar == bars_.end()) {
    if (bars_.size() >= kMaxPairs) bars_.erase(bars_.begin());
    bars_.push_back({current_->socket, current_->remote, 0, now});
    bar = bars_.end() - 1;
  }
  if (now - switched_at_ >= kLongStay) bar->stalls = 0;
  bar->until = now + kBarAfterStall[std::min(bar->stalls, kBarAfterStall.size() - 1)];
  ++bar->stalls;
}

std::optional<Instant> RouteChoice::next_timeout(Instant now) const {
  std::optional<Instant> next;
  for (const Bar& bar : bars_)
    if (bar.until > now) next = earlier(next, bar.until);
  return next;
}

const std::optional<Route>& RouteChoice::choose(const std::deque<Pair>& pairs, Instant now) {
  const Pair *present = nullptr, *best = nullptr;
  for (const Pair& pair : pairs) {
    if (pair.state != PairState::Valid || is_barred(pair, now)) continue;
    if (current_ && pair.socket == current_->socket && pair.remote == current_->remote) present = &pair;
    if (best == nullptr || better(pair, *best, now)) best = &pair;
  }
  if (best == nullptr) {
    current_.reset();
    return current_;
  }
  const bool may_leave = present == nullptr || best->tier < present->tier || now - switched_at_ >= kDwell;
  const Pair* chosen = present;
  if (present == nullptr || (best != present && may_leave && worth_it(*best, *present, now))) chosen = best;
  if (chosen != present) {
    ++switches_;
    switched_at_ = now;
  }
  current_ = Route{chosen->socket, chosen->remote, chosen->tier, chosen->rtt.value_or(Duration::zero())};
  return current_;
}

}  // namespace dh::path
