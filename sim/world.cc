#include "sim/world.hh"

#include <algorithm>
#include <stdexcept>

namespace dh::sim {

void World::at(Instant when, std::function<void()> what) {
  events_.push({std::max(when, now_), next_order_++, std::move(what)});
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = now_ + limit;
  while (!done()) {
    if (events_.empty() || events_.top().when > end) {
      now_ = end;
      return false;
    }
    auto what = std::move(const_cast<Event&>(events_.top()).what);
    same_instant_ = events_.top().when == now_ ? same_instant_ + 1 : 0;
    if (same_instant_ > kMaxAtOnce) throw std::runtime_error("simulated time stands still: something spins");
    now_ = events_.top().when;
    events_.pop();
    ++steps_;
    what();
  }
  return true;
}

}  // namespace dh::sim
