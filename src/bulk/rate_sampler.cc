#include "bulk/rate_sampler.hh"

#include <algorithm>

namespace dh::bulk {

void RateSampler::on_sent(SentPacket& packet, std::uint64_t in_flight, Instant now) {
  if (in_flight == 0) first_sent_at_ = delivered_at_ = now;
  packet.delivered = delivered_;
  packet.delivered_at = delivered_at_;
  packet.first_sent_at = first_sent_at_;
  packet.lost = lost_;
  packet.app_limited = is_app_limited();
  packet.in_flight = in_flight + packet.wire_bytes;
}

void RateSampler::on_acked(const SentPacket& packet, Instant now) {
  delivered_ += packet.wire_bytes;
  delivered_at_ = now;
  if (newest_ == nullptr || packet.delivered > newest_->delivered ||
      (packet.delivered == newest_->delivered && packet.sent_at >= newest_->sent_at))
    newest_ = &packet;
}

std::optional<RateSample> RateSampler::take(Duration min_rtt, Instant now) {
  if (newest_ == nullptr) return std::nullopt;
  const SentPacket& packet = *newest_;
  newest_ = nullptr;
  first_sent_at_ =
      std::max(first_sent_at_, packet.sent_at);  // a packet found alive late does not turn it back
  if (app_limited_until_ != 0 && delivered_ > app_limited_until_) app_limited_until_ = 0;

  RateSample sample;
  // Sending faster than acks come back, or acks bunched up: the longer of both tells the truth.
  sample.interval = std::max(packet.sent_at - packet.first_sent_at, now - packet.delivered_at);
  sample.delivered = delivered_ - packet.delivered;
  sample.prior_delivered = packet.delivered;
  sample.app_limited = packet.app_limited;
  sample.lost = lost_ - packet.lost;
  sample.in_flight = packet.in_flight;
  sample.reliable = sample.interval >= min_rtt && sample.interval > Duration::zero();
  return sample;
}

}  // namespace dh::bulk
