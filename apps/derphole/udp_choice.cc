#include "udp_choice.hh"

#include <cstdlib>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "base/printable.hh"
#include "exit_status.hh"

namespace dh::app {
namespace {

// The loop, what fills or empties the stream, and one for the cipher.
constexpr unsigned kCoresForThreads = 3;

std::optional<bool> on_or_off(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  if (std::string_view(value) == "on") return true;
  if (std::string_view(value) == "off") return false;
  throw CommandError(Exit::Usage,
                     fmt::format("{} is {}; it may be on or off, or unset", variable, printable(value)));
}

}  // namespace

io::UdpOffload udp_offload_from_environment() {
  const bool by_kernel = on_or_off("DERPHOLE_UDP_OFFLOAD").value_or(true);
  const bool threads =
      on_or_off("DERPHOLE_UDP_THREADS").value_or(std::thread::hardware_concurrency() >= kCoresForThreads);
  return {.segment = by_kernel, .coalesce = by_kernel, .send_thread = threads, .receive_thread = threads};
}

io::UdpOffload for_session(io::UdpOffload offload, const session::SessionConfig& session) {
  const bool sends = session.direction == session::Direction::Send;
  offload.send_thread = sends && (offload.send_thread || session.lanes > 1);
  offload.receive_thread = offload.receive_thread && !sends;
  return offload;
}

}  // namespace dh::app
