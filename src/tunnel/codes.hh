#pragma once

#include <cstdint>
#include <string_view>

namespace dh::tunnel {

/// Why one end of a forwarded connection ended other than by its FIN. Travels as the application error code
/// of QUIC's RESET_STREAM and STOP_SENDING. Spec: docs/protocol/tunnel.md "Codes".
enum class StreamCode : std::uint64_t {
  Reset = 0x100,              // the TCP connection was reset
  TargetRefused = 0x101,      // nobody listens at the target
  TargetUnreachable = 0x102,  // no route to it, or no such host any more
  TargetSilent = 0x103,       // it did not answer in time
  NoResources = 0x104,        // the sharing side has no descriptor or no memory left
  UnknownForward = 0x105,     // there is no forward with this id
  BadHeader = 0x106,          // the stream did not begin as the protocol says
};
/// A clause for people; also for codes nobody has defined.
std::string_view describe(std::uint64_t code);

}  // namespace dh::tunnel
