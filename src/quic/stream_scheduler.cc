#include "quic/stream_scheduler.hh"

namespace dh::quic {

void StreamScheduler::enqueue(std::deque<Place>& queue, std::int64_t stream, Active& active) {
  active.ticket = ++tickets_;
  queue.push_back({stream, active.ticket});
}

void StreamScheduler::activate(std::int64_t stream) {
  const auto [place, inserted] = active_.try_emplace(stream);
  if (!inserted) return;
  place->second.left = kStreamQuantum;
  enqueue(fresh_, stream, place->second);
}

std::int64_t StreamScheduler::next() {
  for (;;) {
    std::deque<Place>* queue = fresh_.empty() ? &old_ : &fresh_;
    if (queue->empty()) return -1;
    const Place first = queue->front();
    const auto found = active_.find(first.stream);
    if (found == active_.end() || found->second.ticket != first.ticket) {  // deactivated meanwhile
      queue->pop_front();
      continue;
    }
    if (found->second.left > 0) return first.stream;
    queue->pop_front();
    found->second.left += kStreamQuantum;
    enqueue(old_, first.stream, found->second);
  }
}

void StreamScheduler::charge(std::int64_t stream, std::size_t bytes) {
  const auto found = active_.find(stream);
  if (found != active_.end()) found->second.left -= static_cast<std::int64_t>(bytes);
}

}  // namespace dh::quic
