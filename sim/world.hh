#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "sim/nonce_ledger.hh"

namespace dh::sim {

/// Simulated time and everything that is going to happen in it. One seed, one run.
class World {
public:
  explicit World(std::uint64_t seed) : rng_(seed) {}

  Instant now() const { return now_; }
  /// Wall time runs with simulated time from a fixed day.
  UnixSeconds wall() const {
    return UnixSeconds(std::chrono::seconds(1'800'000'000)) +
           std::chrono::duration_cast<std::chrono::seconds>(now_.time_since_epoch());
  }
  SeededRng& rng() { return rng_; }

  void at(Instant when, std::function<void()> what);
  void after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }

  /// Runs events until `done` says so. false: `limit` passed, or nothing is left to happen.
  bool run_until(const std::function<bool()>& done, Duration limit);
  std::uint64_t steps() const { return steps_; }
  const NonceLedger& nonces() const { return nonces_; }

private:
  struct Event {
    Instant when;
    std::uint64_t order;  // events of one instant keep their order
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };

  NonceLedger nonces_;
  SeededRng rng_;
  Instant now_{};
  static constexpr std::uint64_t kMaxAtOnce = 1'000'000;  // events of one instant
  std::uint64_t next_order_ = 0, steps_ = 0, same_instant_ = 0;
  std::priority_queue<Event> events_;
};

}  // namespace dh::sim
