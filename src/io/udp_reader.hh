#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include <sys/socket.h>

#include "base/address.hh"

namespace dh::io {

/// Reads what has arrived at UDP sockets, in few system calls: several messages a call, and where the kernel
/// coalesces datagrams that arrive together (UDP_GRO), up to 64 KiB a message. One serves all sockets of a
/// thread.
class UdpReader {
public:
  /// `datagram` may be changed in place until the call returns.
  using OnDatagram = std::function<void(const Endpoint& from, ByteSpan datagram)>;

  UdpReader();

  struct Result {
    std::size_t messages = 0;  // the kernel's: one datagram each, or several of one size
    std::size_t datagrams = 0;
    std::uint64_t bytes = 0;
    bool more = false;                      // the call was full: another one may find more
    std::optional<std::uint32_t> overflow;  // what the socket's buffer had no room for, since it was opened
  };
  /// One system call. Errors of the socket (ICMP about what was sent) count as nothing there.
  Result read(int fd, const OnDatagram& on_datagram);

private:
  static constexpr std::size_t kMessages = 16;
  static constexpr std::size_t kMessageBytes = 65'536;  // the most the kernel coalesces

  Bytes buffer_;
  std::array<mmsghdr, kMessages> messages_{};
  std::array<iovec, kMessages> parts_{};
  std::array<sockaddr_storage, kMessages> sources_{};
  struct alignas(cmsghdr) Control {
    std::array<char, 64> bytes;
  };
  std::array<Control, kMessages> controls_{};
};

}  // namespace dh::io
