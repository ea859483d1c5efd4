#include "io/clock.hh"

#include <pthread.h>
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

Duration thread_cpu_time(std::thread& thread) {
  clockid_t clock{};
  timespec spec{};
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0 || clock_gettime(clock, &spec) != 0)
    return Duration::zero();
  return std::chrono::seconds(spec.tv_sec) + std::chrono::nanoseconds(spec.tv_nsec);
}

Duration thread_cpu_time() {
  timespec spec{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spec);
  return std::chrono::seconds(spec.tv_sec) + std::chrono::nanoseconds(spec.tv_nsec);
}

}  // namespace dh::io
