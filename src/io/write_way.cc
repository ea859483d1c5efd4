#include "io/write_way.hh"

#include <algorithm>
#include <string>

#include <fcntl.h>

namespace dh::io {

void WriteWay::went(bool direct, std::uint64_t bytes, Duration took) {
  if (stage_ == Stage::CachedForGood) return;
  if (stage_ == Stage::DirectSample && !direct) return;  // no sample of it
  bytes_ += bytes;
  time_ += took;
  left_ -= std::min(left_, bytes);
  if (left_ == 0) next();
}

void WriteWay::next() {
  const double cost = to_seconds(time_) / static_cast<double>(bytes_);
  bytes_ = 0;
  time_ = {};
  left_ = kSampleBytes;
  switch (stage_) {
    case Stage::CachedSample:
      cached_cost_ = cost;
      stage_ = Stage::DirectSample;
      return;
    case Stage::DirectSample:
      stage_ = cost < cached_cost_ ? Stage::Direct : Stage::Cached;
      left_ = kPeriodBytes;
      return;
    case Stage::Cached:
    case Stage::Direct:
      stage_ = Stage::CachedSample;
      return;
    case Stage::CachedForGood:
      return;
  }
}

Fd reopen_direct(int fd) {
  return Fd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

}  // namespace dh::io
