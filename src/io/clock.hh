#pragma once

#include "base/time.hh"

namespace dh::io {

/// CLOCK_BOOTTIME: goes on while the machine sleeps, so timeouts mean what they say after a suspend.
Instant now();
UnixSeconds wall_now();

}  // namespace dh::io
