#include "lab/link_model.hh"

#include <algorithm>
#include <utility>

namespace dh::lab {
namespace {

constexpr std::size_t kMaxSpareBuffers = 1024;  // about what a turn of the wire moves

}  // namespace

Link::Link(std::uint64_t seed) : rng_(seed) {}

bool Link::later(const Held& a, const Held& b) {
  return a.release != b.release ? a.release > b.release : a.order > b.order;
}

bool Link::in_burst() {
  if (bursting_) {
    bursting_ = !rng_.chance(1.0 / std::max(1.0, settings_.burst_packets));
  } else {
    bursting_ = settings_.burst_loss > 0 && rng_.chance(settings_.burst_loss);
  }
  return bursting_;
}

bool Link::passes(std::size_t size) {
  if (settings_.cut) {
    ++counters_.cut;
    return false;
  }
  if (settings_.mtu_hole != 0 && size > settings_.mtu_hole) {
    ++counters_.too_big;
    return false;
  }
  if (in_burst()) {
    ++counters_.burst_lost;
    return false;
  }
  if (settings_.loss > 0 && rng_.chance(settings_.loss)) {
    ++counters_.lost;
    return false;
  }
  return true;
}

std::optional<Instant> Link::depart(std::size_t size, Instant now) {
  if (settings_.rate_bits <= 0) return now;
  const Instant start = std::max(now, line_free_);
  const double backlog_bytes = to_seconds(start - now) * settings_.rate_bits / 8;
  // An empty queue takes any packet, however small the queue: else nothing would ever pass.
  if (backlog_bytes > 0 &&
      backlog_bytes + static_cast<double>(size) > static_cast<double>(settings_.queue_bytes))
    return std::nullopt;
  line_free_ = start + from_seconds(static_cast<double>(size) * 8 / settings_.rate_bits);
  return line_free_;
}

bool Link::hold(ByteView packet, Instant release) {
  if (held_.size() >= kMaxHeldPackets || held_bytes_ + packet.size() > kMaxHeldBytes) {
    ++counters_.overflowed;
    return false;
  }
  Bytes buffer;
  if (!spare_.empty()) {
    buffer = std::move(spare_.back());
    spare_.pop_back();
  }
  buffer.assign(packet.begin(), packet.end());
  held_bytes_ += packet.size();
  held_.push_back({release, next_order_++, std::move(buffer)});
  return true;
}

void Link::on_packet(ByteView packet, Instant now) {
  ++counters_.offered;
  counters_.offered_bytes += packet.size();
  if (!passes(packet.size())) return;
  const auto departure = depart(packet.size(), now);
  if (!departure) {
    ++counters_.queue_dropped;
    return;
  }
  Instant release = *departure + settings_.delay;
  if (settings_.jitter > Duration::zero())
    release += Duration(
        static_cast<Duration::rep>(rng_.below(static_cast<std::uint64_t>(settings_.jitter.count()) + 1)));
  release = std::max(release, last_release_);
  const bool held_back = settings_.reorder > 0 && rng_.chance(settings_.reorder);
  if (!held_back) last_release_ = release;
  if (!hold(packet, held_back ? release + settings_.reorder_by : release)) return;
  counters_.reordered += held_back;
  if (settings_.corrupt > 0 && rng_.chance(settings_.corrupt))
    counters_.corrupted += corrupt_packet(held_.back().packet, rng_);
  const bool twice = settings_.duplicate > 0 && rng_.chance(settings_.duplicate);
  if (twice) {
    const Bytes copy = held_.back().packet;
    const Instant at = held_.back().release;
    std::push_heap(held_.begin(), held_.end(), later);
    if (!hold(copy, at)) {
      --counters_.overflowed;  // the packet itself is on its way
      return;
    }
    ++counters_.duplicated;
  }
  std::push_heap(held_.begin(), held_.end(), later);
}

std::optional<ByteView> Link::poll_packet(Instant now) {
  if (current_.capacity() != 0 && spare_.size() < kMaxSpareBuffers) spare_.push_back(std::move(current_));
  current_ = {};
  if (held_.empty() || held_.front().release > now) return std::nullopt;
  std::pop_heap(held_.begin(), held_.end(), later);
  current_ = std::move(held_.back().packet);
  held_.pop_back();
  held_bytes_ -= current_.size();
  ++counters_.delivered;
  counters_.delivered_bytes += current_.size();
  return ByteView(current_);
}

std::optional<Instant> Link::next_timeout() const {
  if (held_.empty()) return std::nullopt;
  return held_.front().release;
}

}  // namespace dh::lab
