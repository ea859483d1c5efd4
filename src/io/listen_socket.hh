#pragma once

// Bound sockets as owned descriptors, for the parts that do their own system calls.

#include <cstdint>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/address.hh"

namespace dh::io {

/// Owns a file descriptor.
class Fd {
public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

private:
  int fd_ = -1;
};

/// An Endpoint as the system's structure.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  static SocketAddress from(const Endpoint& endpoint);
  static Endpoint to_endpoint(const sockaddr_storage& storage);
  sockaddr* data() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// A listening, non-blocking TCP socket whose options accepted sockets inherit: no delay, keepalive after 10
/// minutes, unacknowledged data gives up after 15 s. `send_bytes`: SO_SNDBUF, 0 leaves it to the system.
/// IPv6 sockets take IPv6 only, so that v4 and v6 can be bound side by side.
/// Errors: throws std::runtime_error with one sentence for the user.
Fd listen_tcp(const Endpoint& endpoint, std::size_t send_bytes);
enum class PortUse : std::uint8_t {
  Alone,
  Shared,  // SO_REUSEPORT
};
/// A bound, non-blocking UDP socket. Errors: as listen_tcp.
Fd bind_udp(const Endpoint& endpoint, PortUse use = PortUse::Alone);
Endpoint bound_endpoint(const Fd& fd);

}  // namespace dh::io
