#include "session/relay_set.hh"

namespace dh::session {

void RelaySet::up(std::size_t relay) {
  relays_[relay].up = true;
  relays_[relay].suspect = false;
  choose();
}

void RelaySet::down(std::size_t relay) {
  relays_[relay].up = false;
  choose();
}

void RelaySet::suspect(std::size_t relay) {
  relays_[relay].suspect = true;
  choose();
}

void RelaySet::heard(std::size_t relay, Instant now) {
  relays_[relay].suspect = false;
  relays_[relay].heard = now;
  choose();
}

void RelaySet::follow(std::size_t relay) {
  if (relays_[relay].up) current_ = relay;
}

bool RelaySet::any_up() const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (relays_[i].up) return true;
  }
  return false;
}

std::optional<Instant> RelaySet::last_heard() const {
  std::optional<Instant> last;
  for (std::size_t i = 0; i < count_; ++i) {
    if (relays_[i].heard && (!last || *relays_[i].heard > *last)) last = relays_[i].heard;
  }
  return last;
}

int RelaySet::rank(std::size_t relay) const {
  if (!relays_[relay].up) return 0;
  return relays_[relay].suspect ? 1 : 2;
}

void RelaySet::choose() {
  if (current_ && rank(*current_) == 0) current_.reset();
  for (std::size_t i = 0; i < count_; ++i) {
    if (rank(i) > (current_ ? rank(*current_) : 0)) current_ = i;
  }
}

}  // namespace dh::session
