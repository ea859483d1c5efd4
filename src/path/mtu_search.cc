#include "path/mtu_search.hh"

#include <algorithm>
#include <array>

namespace dh::path {
namespace {

// What is common below 1,500, as bytes less than that: PPPoE, GRE, IPsec, WireGuard, mobile networks, tunnels
// over those, and the least of IPv6. Steps between the larger ones are below kMtuStep, so they are found to
// the byte.
constexpr std::array<std::size_t, 14> kBelowStandard = {8,  20, 28, 36,  42,  50,  60,
                                                        72, 80, 88, 100, 120, 140, 220};

constexpr std::size_t kBabyGiant = 128;  // bytes of tags and labels that some networks make room for

// An answer that comes later than this is no answer while the pair is new: the stream waits for it.
Duration first_patience(Duration rtt) {
  return rtt + rtt / 8 + kFirstMtuSlack;
}

Duration patience(Duration rtt) {
  return std::max(kPingRetry, 3 * rtt);
}

}  // namespace

void MtuSearch::set_limits(std::size_t limit, std::size_t standard, Instant now) {
  limit = std::clamp(limit, kBaseDatagram, kMaxDatagram);
  standard = std::clamp(standard, kBaseDatagram, kMaxDatagram);
  if (limit == limit_ && standard == standard_) return;
  const bool grew = limit > limit_;
  limit_ = limit;
  standard_ = standard;
  passes_ = std::min(passes_, limit_);
  if (fails_ > limit_) fails_ = 0;
  if (state_ == MtuState::Searching || (grew && state_ == MtuState::SearchComplete)) begin_search(now);
}

void MtuSearch::enable(Duration rtt, Instant now) {
  if (state_ != MtuState::Disabled) return;
  state_ = MtuState::Base;
  size_ = kBaseDatagram;
  tries_ = 0;
  waiting_ = early_at_.has_value();
  due_ = waiting_ ? std::max(now, *early_at_ + first_patience(rtt)) : now;
}

void MtuSearch::reset() {
  state_ = MtuState::Disabled;
  passes_ = fails_ = largest_sent_ = 0;
  tries_ = errors_ = 0;
  waiting_ = false;
  early_at_.reset();
  due_.reset();
}

void MtuSearch::set_in_use(bool in_use, Instant now) {
  if (in_use == in_use_) return;
  in_use_ = in_use;
  if (state_ == MtuState::Searching) begin_search(now);
}

void MtuSearch::on_early_probe(Instant now) {
  if (state_ != MtuState::Disabled) return;
  early_at_ = now;
  largest_sent_ = std::max(largest_sent_, kBaseDatagram);
}

void MtuSearch::on_answered(std::size_t size, Instant now) {
  if (size < kBaseDatagram || size > largest_sent_ || size > limit_) return;
  if (size <= passes_ && state_ != MtuState::Base) return;  // what an answer before a black hole says is old
  passes_ = std::max(passes_, size);
  if (fails_ <= passes_) fails_ = 0;  // it was only lost
  errors_ = 0;
  begin_search(now);
}

void MtuSearch::on_too_big(std::size_t size, Instant now) {
  if (state_ == MtuState::Disabled || size == 0) return;
  if (size <= kBaseDatagram) {
    state_ = MtuState::Error;
    passes_ = 0;
    waiting_ = false;
    due_ = now + kMtuErrorPause;
    return;
  }
  fails_ = fails_ == 0 ? size : std::min(fails_, size);
  if (passes_ >= fails_) return on_black_hole(now);
  if (waiting_ && size_ >= size) begin_search(now);
}

void MtuSearch::on_black_hole(Instant now) {
  if (state_ != MtuState::Searching && state_ != MtuState::SearchComplete) return;
  passes_ = kBaseDatagram;
  state_ = MtuState::Base;
  size_ = kBaseDatagram;
  largest_sent_ = kBaseDatagram;  // what larger ones are still answered is no longer true
  tries_ = 0;
  waiting_ = false;
  due_ = now;
}

/// Searching from what passes upwards, if anything is left to try.
void MtuSearch::begin_search(Instant now) {
  state_ = MtuState::Searching;
  waiting_ = false;
  tries_ = 0;
  due_.reset();
  if (!in_use_) return;
  if (next_size()) {
    due_ = now;
    return;
  }
  state_ = MtuState::SearchComplete;
  if (passes_ < limit_) due_ = now + kMtuRaise;
}

void MtuSearch::fail(std::size_t size, Instant now) {
  if (state_ == MtuState::Base) {
    state_ = MtuState::Error;
    passes_ = 0;
    due_ = now + kMtuErrorPause;
    return;
  }
  fails_ = size;
  begin_search(now);
}

void MtuSearch::on_timeout(Instant now) {
  if (!is_due(due_, now)) return;
  if (state_ == MtuState::SearchComplete) {  // the path may have become another one
    fails_ = 0;
    return begin_search(now);
  }
  if (!waiting_) return;
  waiting_ = false;
  if (state_ == MtuState::Error) {
    due_ = now + (++errors_ < kMtuErrorTries ? kMtuErrorPause : kPingStandby);
    return;
  }
  if (++tries_ >= kMaxMtuProbes) return fail(size_, now);
  due_ = now;
}

std::optional<std::size_t> MtuSearch::poll_probe(Duration rtt, Instant now) {
  if (waiting_ || !is_due(due_, now)) return std::nullopt;
  std::optional<std::size_t> size;
  switch (state_) {
    case MtuState::Disabled:
    case MtuState::SearchComplete:
      return std::nullopt;
    case MtuState::Base:
    case MtuState::Error:
      size = kBaseDatagram;
      break;
    case MtuState::Searching:
      size = next_size();
      break;
  }
  if (!size) return std::nullopt;
  size_ = *size;
  largest_sent_ = std::max(largest_sent_, size_);
  waiting_ = true;
  // The base size is in question soon. But a path in use has queues of its own making, so the verdict on it
  // waits.
  const bool hurries = state_ == MtuState::Base && (!in_use_ || tries_ + 1 < kMaxMtuProbes);
  due_ = now + (hurries ? first_patience(rtt) : patience(rtt));
  return size;
}

/// Largest first where one size is likely, then halving what is left, over common sizes as long as any is
/// between.
std::optional<std::size_t> MtuSearch::next_size() const {
  const std::size_t above = fails_ == 0 ? limit_ + 1 : fails_;
  if (passes_ + 1 >= above) return std::nullopt;
  if (fails_ == 0) return limit_;
  if (passes_ < standard_ && standard_ < above) return standard_;
  // Where jumbo frames do not pass, hardly anything above the usual does: one question settles that.
  if (passes_ == standard_ && standard_ + kBabyGiant < above) return standard_ + kBabyGiant;
  std::array<std::size_t, kBelowStandard.size()> common;
  std::size_t count = 0;
  for (const std::size_t below : kBelowStandard) {
    const std::size_t size = standard_ - std::min(standard_, below);
    if (size > passes_ && size < above) common[count++] = size;
  }
  if (count > 0) return common[count / 2];
  if (above - passes_ > kMtuStep) return passes_ + (above - passes_) / 2;
  return std::nullopt;
}

}  // namespace dh::path
