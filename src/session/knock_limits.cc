#include "session/knock_limits.hh"

#include <algorithm>

namespace dh::session {

bool Bucket::take(Instant now, Duration every, unsigned burst) {
  const Instant from = std::max(empty_at, now);
  if (from - now > every * (burst - 1)) return false;
  empty_at = from + every;
  return true;
}

bool KnockLimits::sender_may(const PublicKey& from, Instant now) {
  if (!senders_.contains(from)) {
    if (senders_.size() >= kSenders) {
      senders_.erase(sender_order_.front());
      sender_order_.pop_front();
    }
    sender_order_.push_back(from);
  }
  return senders_[from].take(now, kPerSenderEvery, kPerSenderBurst);
}

void KnockLimits::remember(const PublicKey& ephemeral) {
  if (!seen_.insert(ephemeral).second) return;
  seen_order_.push_back(ephemeral);
  if (seen_order_.size() <= kSeenEphemerals) return;
  seen_.erase(seen_order_.front());
  seen_order_.pop_front();
}

}  // namespace dh::session
