#include "quic/stream_scheduler.hh"

namespace dh::quic {

void StreamScheduler::enqueue(std::deque<Place>& queue, std::int64_t stream, Active& active) {
  active.ticket = ++tickets_;
  queue.push_back({stream, active.ticket});
}

StreamScheduler::Active* StreamScheduler::find(std::int64_t stream) {
  if (found_ != nullptr && found_stream_ == stream) return found_;
  const auto place = active_.find(stream);
  if (place == active_.end()) return nullptr;
  found_stream_ = stream;
  return found_ = &place->second;
}

void StreamScheduler::deactivate(std::int64_t stream) {
  if (found_stream_ == stream) found_ = nullptr;
  active_.erase(stream);
}

void StreamScheduler::activate(std::int64_t stream) {
  if (find(stream) != nullptr) return;
  Active& made = active_[stream];
  made.left = kStreamQuantum;
  enqueue(fresh_, stream, made);
}

std::int64_t StreamScheduler::next() {
  for (;;) {
    std::deque<Place>* queue = fresh_.empty() ? &old_ : &fresh_;
    if (queue->empty()) return -1;
    const Place first = queue->front();
    Active* found = find(first.stream);
    if (found == nullptr || found->ticket != first.ticket) {  // deactivated meanwhile
      queue->pop_front();
      continue;
    }
    if (found->left > 0) return first.stream;
    queue->pop_front();
    found->left += kStreamQuantum;
    enqueue(old_, first.stream, *found);
  }
}

void StreamScheduler::charge(std::int64_t stream, std::size_t bytes) {
  if (Active* found = find(stream)) found->left -= static_cast<std::int64_t>(bytes);
}

}  // namespace dh::quic
