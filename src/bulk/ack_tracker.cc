#include "bulk/ack_tracker.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::bulk {

void AckTracker::on_packet(std::uint64_t number, bool eliciting, bool ack_me, Duration rtt, Instant now) {
  const bool newest = count_ == 0 || number > ranges_[count_ - 1].last;
  const bool gap = count_ == 0 ? number != 0 : number > ranges_[count_ - 1].last + 1;
  insert(number);
  if (newest) largest_at_ = now;
  ++received_;
  if (!eliciting) return;

  ++waiting_;
  Instant due = now + std::min<Duration>(rtt / 8, kMaxAckDelay);
  if (ack_me || waiting_ >= kAckEveryPackets) {
    due = now;
  } else if (gap) {  // the sender can repair at once, but a path that reorders all the time must not ack each
                     // packet
    due = last_gap_ack_ ? std::clamp(*last_gap_ack_ + kGapAckSpacing, now, due) : now;
    if (due == now) last_gap_ack_ = now;
  }
  due_ = due_ ? std::min(*due_, due) : due;
}

void AckTracker::insert(std::uint64_t number) {
  std::size_t i = count_;  // the first range that lies wholly above `number`, after the search
  while (i > 0 && ranges_[i - 1].first > number) --i;
  const bool joins_below = i > 0 && number <= ranges_[i - 1].last + 1;
  const bool joins_above = i < count_ && ranges_[i].first == number + 1;
  if (joins_below && number <= ranges_[i - 1].last) return;
  if (joins_below && joins_above) {
    ranges_[i - 1].last = ranges_[i].last;
    std::copy(ranges_.begin() + static_cast<std::ptrdiff_t>(i + 1),
              ranges_.begin() + static_cast<std::ptrdiff_t>(count_),
              ranges_.begin() + static_cast<std::ptrdiff_t>(i));
    --count_;
  } else if (joins_below) {
    ranges_[i - 1].last = number;
  } else if (joins_above) {
    ranges_[i].first = number;
  } else if (count_ == kMaxAckRanges) {
    if (i == 0) return;  // older than all we keep: the sender will repeat it
    std::copy(ranges_.begin() + 1, ranges_.begin() + static_cast<std::ptrdiff_t>(i), ranges_.begin());
    ranges_[i - 1] = {number, number};
  } else {
    std::copy_backward(ranges_.begin() + static_cast<std::ptrdiff_t>(i),
                       ranges_.begin() + static_cast<std::ptrdiff_t>(count_),
                       ranges_.begin() + static_cast<std::ptrdiff_t>(count_ + 1));
    ranges_[i] = {number, number};
    ++count_;
  }
}

void AckTracker::take(wire::AckFrame& frame, Instant now) {
  CHECK(count_ > 0);
  const auto delay = std::chrono::duration_cast<std::chrono::microseconds>(now - largest_at_).count();
  frame.delay_us = static_cast<std::uint32_t>(std::clamp<std::int64_t>(delay, 0, 0xffffffff));
  frame.received = received_;
  frame.duplicates = duplicates_;
  frame.range_count = count_;
  for (std::size_t i = 0; i < count_; ++i) frame.ranges[i] = ranges_[count_ - 1 - i];
  due_.reset();
  waiting_ = 0;
}

void AckTracker::on_ack_acked(std::uint64_t number) {
  // The newest stays: acks need a largest number, and what comes next is compared with it.
  std::size_t settled = 0;
  while (settled + 1 < count_ && ranges_[settled].last <= number) ++settled;
  std::copy(ranges_.begin() + static_cast<std::ptrdiff_t>(settled),
            ranges_.begin() + static_cast<std::ptrdiff_t>(count_), ranges_.begin());
  count_ -= settled;
}

}  // namespace dh::bulk
