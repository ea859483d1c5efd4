#include "io/reconnect_backoff.hh"

#include <algorithm>

namespace dh::io {
namespace {

constexpr Duration kStep = 10ms;
constexpr Duration kCeiling = 5s;
constexpr Duration kSettled = 5s;  // a login that stood this long was a success
constexpr int kPatientRejections = 2;
constexpr Duration kRejectedStep = 2s;
constexpr Duration kRejectedCeiling = 60s;

}  // namespace

Duration ReconnectBackoff::next(AttemptEnd end, Duration up_for, Rng& rng) {
  if (end == AttemptEnd::Lost && up_for >= kSettled) failures_ = 0;
  failures_ = std::min(failures_ + 1, 1000);
  rejections_ = end == AttemptEnd::Rejected ? std::min(rejections_ + 1, 1000) : 0;
  Duration wait = std::min(kStep * failures_ * failures_, kCeiling);
  if (rejections_ > kPatientRejections) {
    const int doublings = std::min(rejections_ - kPatientRejections - 1, 5);
    wait = std::max(wait, std::min(kRejectedStep * (1 << doublings), kRejectedCeiling));
  }
  return from_seconds(to_seconds(wait) * (0.5 + rng.unit()));
}

}  // namespace dh::io
