// Stream headers, and a bridge under any order of events: after the end nothing follows, and both ends have
// got one.

#include <cstdlib>

#include "tunnel/bridge.hh"
#include "tunnel/stream_header.hh"

using namespace dh;

namespace {

void check(bool condition) {
  if (!condition) std::abort();
}

void header(ByteView bytes) {
  const auto parsed = tunnel::StreamHeader::parse(bytes);
  if (!parsed) return;
  Bytes again;
  Writer w(again);
  parsed->serialize(w);
  check(equal_bytes(again, bytes));
}

void bridge(ByteView events) {
  tunnel::Bridge bridge;
  bool closed = false, finished = false, reset = false;
  for (const std::byte event : events) {
    switch (static_cast<unsigned>(event) % 7) {
      case 0:
        bridge.on_tcp_end();
        break;
      case 1:
        bridge.on_tcp_failed();
        break;
      case 2:
        bridge.on_tcp_refused(tunnel::StreamCode::TargetRefused);
        break;
      case 3:
        bridge.on_stream_end();
        break;
      case 4:
        bridge.on_stream_reset(static_cast<unsigned>(event));
        break;
      case 5:
        bridge.on_stream_stopped();
        break;
      default:
        bridge.on_stream_lost();
        break;
    }
    while (const auto action = bridge.poll_action()) {
      check(!closed);
      if (std::holds_alternative<tunnel::FinishStream>(*action)) {
        check(!finished && !reset);
        finished = true;
      }
      if (std::holds_alternative<tunnel::ResetStream>(*action)) reset = true;
      closed = std::holds_alternative<tunnel::CloseTcp>(*action) ||
               std::holds_alternative<tunnel::ResetTcp>(*action);
    }
    check(closed == bridge.is_over());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  header(bytes);
  bridge(bytes);
  return 0;
}
