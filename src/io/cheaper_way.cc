#include "io/cheaper_way.hh"

#include <algorithm>

namespace dh::io {

void CheaperWay::went(bool second, std::uint64_t bytes, Duration took) {
  if (stage_ == Stage::FirstForGood) return;
  if (is_sample()) {
    if (second != is_second()) return;  // no sample of it
    done_ += bytes;
    time_ += took;
  }
  left_ -= std::min(left_, bytes);
  if (left_ == 0) next();
}

void CheaperWay::next() {
  const double cost = to_seconds(time_) / static_cast<double>(std::max<std::uint64_t>(1, done_));
  done_ = 0;
  time_ = {};
  switch (stage_) {
    case Stage::FirstSample:
      first_cost_ = cost;
      stage_ = Stage::SecondSample;
      left_ = bytes_.sample;
      return;
    case Stage::SecondSample:
      stage_ = cost < first_cost_ ? Stage::Second : Stage::First;
      left_ = bytes_.period;
      return;
    case Stage::First:
    case Stage::Second:
      stage_ = Stage::FirstSample;
      left_ = bytes_.sample;
      return;
    case Stage::FirstForGood:
      return;
  }
}

}  // namespace dh::io
