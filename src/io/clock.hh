#pragma once

#include <thread>

#include "base/time.hh"

namespace dh::io {

/// CLOCK_BOOTTIME: goes on while the machine sleeps, so timeouts mean what they say after a suspend.
Instant now();
UnixSeconds wall_now();
/// How long a running thread has been on a processor.
Duration thread_cpu_time(std::thread& thread);
/// The same of the calling one.
Duration thread_cpu_time();

}  // namespace dh::io
