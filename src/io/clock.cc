#include "io/clock.hh"

#include <time.h>

namespace dh::io {

Instant now() {
  timespec spec{};
  clock_gettime(CLOCK_BOOTTIME, &spec);
  return Instant(std::chrono::seconds(spec.tv_sec) + std::chrono::nanoseconds(spec.tv_nsec));
}

UnixSeconds wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace dh::io
