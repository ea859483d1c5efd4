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

void RouteChoice::on_stalled(Instant now, Duration least_rest) {
  if (!current_) return;
  const IpAddress address = current_->remote.address;
  const auto known =
      std::find_if(stalls_.begin(), stalls_.end(), [&](const Stall& s) { return s.address == address; });
  if (known == stalls_.end()) {
    if (stalls_.size() >= kMaxStalls) stalls_.pop_front();
    stalls_.push_back({address, Duration::zero(), now + least_rest});
    return;
  }
  // What has carried the stream for a while and then stops has changed, as a NAT that gives another port
  // does.
  const bool good_run = now - switched_at_ >= std::max(kGoodRun, 2 * known->pause);
  if (good_run || now - known->until > kFailureMemory) {
    known->pause = Duration::zero();
  } else {
    known->pause = std::clamp<Duration>(2 * known->pause, kStallPause, kMaxStallPause);
  }
  known->until = now + std::max(known->pause, least_rest);
}

std::optional<Instant> RouteChoice::rests_until(const Pair& pair, Instant now) const {
  for (const Stall& stall : stalls_)
    if (stall.address == pair.remote.address && stall.until > now) return stall.until;
  return std::nullopt;
}

const std::optional<Route>& RouteChoice::choose(const std::deque<Pair>& pairs, Instant now) {
  const Pair *present = nullptr, *best = nullptr;
  rests_until_.reset();
  for (const Pair& pair : pairs) {
    if (!pair.carries()) continue;
    if (const auto until = rests_until(pair, now)) {
      rests_until_ = earlier(rests_until_, until);
      continue;
    }
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
  current_ = Route{chosen->socket, chosen->remote, chosen->tier, chosen->rtt.value_or(Duration::zero()),
                   chosen->mtu.datagram_bytes()};
  return current_;
}

}  // namespace dh::path
