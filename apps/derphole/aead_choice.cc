#include "aead_choice.hh"

#include <cstdlib>

#include <fmt/format.h>

#include "base/printable.hh"
#include "crypto/aead.hh"
#include "exit_status.hh"

namespace dh::app {

void choose_aead_backend() {
  const char* name = std::getenv("DERPHOLE_AEAD");
  if (name == nullptr || *name == '\0') return;
  const auto backend = aead_backend_named(name);
  if (!backend) {
    throw CommandError(
        Exit::Usage,
        fmt::format("DERPHOLE_AEAD is {}; it may be openssl or ipsec-mb, or unset", printable(name)));
  }
  if (!is_available(*backend)) {
    throw CommandError(
        Exit::Usage,
        fmt::format("DERPHOLE_AEAD is {}, which this build or this machine does not have; unset it", name));
  }
  prefer_aead_backend(*backend);
}

}  // namespace dh::app
