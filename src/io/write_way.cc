#include "io/write_way.hh"

#include <string>

#include <fcntl.h>

namespace dh::io {

Fd reopen_direct(int fd) {
  return Fd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

}  // namespace dh::io
