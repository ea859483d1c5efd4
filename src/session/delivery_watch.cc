#include "session/delivery_watch.hh"

namespace dh::session {

void DeliveryWatch::restart(const Sample& sample, Instant at) {
  start_ = {at, sample.delivered, sample.packets, sample.lost};
}

double DeliveryWatch::known(const std::optional<Rate>& rate, Instant now) const {
  return rate && now - rate->measured_at < kRemember ? rate->bytes_per_second : 0;
}

DeliveryWatch::Advice DeliveryWatch::on_sample(const Sample& sample, Instant now) {
  const bool interrupted = now - next_ > kInterval;  // nobody needed samples for a while
  next_ = now + kInterval;
  if (!started_ || interrupted || sample.direct != direct_) {
    if (sample.direct) left_ = false;
    started_ = true;
    direct_ = sample.direct;
    moved_at_ = now;
    restart(sample, now);
    return Advice::Stay;
  }
  // Only what a path delivers under full load says what it can.
  if (now - moved_at_ < kSettle || !sample.backlog) {
    restart(sample, now);
    return Advice::Stay;
  }
  if (now - start_.at < kMeasure) return Advice::Stay;
  const Advice advice = judge(sample, now);
  restart(sample, now);
  return advice;
}

DeliveryWatch::Advice DeliveryWatch::judge(const Sample& sample, Instant now) {
  const double rate = static_cast<double>(sample.delivered - start_.delivered) / to_seconds(now - start_.at);
  (direct_ ? direct_rate_ : relay_rate_) = Rate{rate, now};
  if (!direct_) {
    const bool no_better = left_ && rate * kMuchLess <= known(direct_rate_, now);
    if (!no_better) return Advice::Stay;
    left_ = false;
    return Advice::Return;
  }
  const double relay = known(relay_rate_, now);
  bool leave = rate < relay * kMuchLess;
  if (relay == 0) {
    const std::uint64_t packets = sample.packets - start_.packets, lost = sample.lost - start_.lost;
    leave = packets >= kMinPackets &&
            static_cast<double>(lost) >= kHeavyLoss * static_cast<double>(packets) &&
            rate < sample.relay_bound * kMuchLess;
  }
  left_ = leave;
  return leave ? Advice::Leave : Advice::Stay;
}

}  // namespace dh::session
