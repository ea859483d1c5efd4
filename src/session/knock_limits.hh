#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "base/time.hh"
#include "crypto/keys.hh"

namespace dh::session {

/// A leaky bucket: `burst` at once, then one every `every`.
struct Bucket {
  Instant empty_at = Instant::min();
  bool take(Instant now, Duration every, unsigned burst);
};

/// What keeps a flood of well-formed M1s cheap: which ephemeral keys were seen, how fast each sender knocks,
/// how fast all do. Every table is bounded.
class KnockLimits {
public:
  static constexpr std::size_t kSeenEphemerals = 4096;  // of M1s that verified; the oldest is forgotten
  static constexpr std::size_t kSenders = 1024;         // rate-limited one by one; the oldest is forgotten
  static constexpr Duration kPerSenderEvery = 100ms;    // a dialer knocks every 250 ms at most
  static constexpr unsigned kPerSenderBurst = 8;
  static constexpr Duration kAllEvery = 20ms;  // 50 M1s with a good mac1 per second; above it: cookies
  static constexpr unsigned kAllBurst = 50;

  /// An M1 with a good mac1 has arrived: true while all of them together stay below the rate.
  bool within_rate(Instant now) { return all_.take(now, kAllEvery, kAllBurst); }
  /// Spends one of the sender's own.
  bool sender_may(const PublicKey& from, Instant now);
  bool seen(const PublicKey& ephemeral) const { return seen_.contains(ephemeral); }
  void remember(const PublicKey& ephemeral);

private:
  Bucket all_;
  std::unordered_map<PublicKey, Bucket, PublicKeyHash> senders_;
  std::deque<PublicKey> sender_order_;
  std::unordered_set<PublicKey, PublicKeyHash> seen_;
  std::deque<PublicKey> seen_order_;
};

}  // namespace dh::session
