#include "io/listen_socket.hh"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/check.hh"

namespace dh::io {
namespace {

constexpr int kBacklog = 1024;          // logins that may wait for one turn of the loop
constexpr int kKeepaliveSeconds = 600;  // notices a vanished client that never sends
constexpr int kUserTimeoutMs = 15'000;  // unacknowledged data: the path is gone

[[noreturn]] void fail(const char* what, const Endpoint& endpoint, int error) {
  const std::string where = endpoint.to_string();
  if (error == EADDRINUSE)
    throw std::runtime_error(fmt::format("{} {} is already in use by another program", what, where));
  if (error == EADDRNOTAVAIL)
    throw std::runtime_error(fmt::format("cannot use {} {}: this machine has no such address", what, where));
  if (error == EACCES)
    throw std::runtime_error(fmt::format("cannot use {} {}: not permitted for this user", what, where));
  throw std::runtime_error(fmt::format("cannot use {} {}: {}", what, where, std::strerror(error)));
}

void set_option(const Fd& fd, int level, int name, int value) {
  // Only tuning: a kernel without one of them still serves.
  (void)::setsockopt(fd.get(), level, name, &value, sizeof value);
}

Fd open_bound(const Endpoint& endpoint, int type, const char* what, PortUse use = PortUse::Alone) {
  Fd fd(::socket(endpoint.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) fail(what, endpoint, errno);
  if (type == SOCK_STREAM) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (use == PortUse::Shared) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (endpoint.address.is_v6()) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  const SocketAddress address = SocketAddress::from(endpoint);
  if (::bind(fd.get(), address.data(), address.size) != 0) fail(what, endpoint, errno);
  return fd;
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

SocketAddress SocketAddress::from(const Endpoint& endpoint) {
  SocketAddress out;
  if (endpoint.address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    const auto bytes = endpoint.address.v4_bytes();
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&out.storage, &v4, sizeof v4);
    out.size = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.address.mapped().data(), 16);
    v6.sin6_scope_id = endpoint.address.zone();
    std::memcpy(&out.storage, &v6, sizeof v6);
    out.size = sizeof v6;
  }
  return out;
}

Endpoint SocketAddress::to_endpoint(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof v4);
    ByteArray<4> bytes;
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    return {IpAddress::v4(bytes), ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &storage, sizeof v6);
  ByteArray<16> bytes;
  std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
  return {IpAddress::v6(bytes).with_zone(v6.sin6_scope_id), ntohs(v6.sin6_port)};
}

Fd listen_tcp(const Endpoint& endpoint, std::size_t send_bytes) {
  Fd fd = open_bound(endpoint, SOCK_STREAM, "TCP port");
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveSeconds);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
  if (send_bytes != 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, static_cast<int>(send_bytes));
  if (::listen(fd.get(), kBacklog) != 0) fail("TCP port", endpoint, errno);
  return fd;
}

Fd bind_udp(const Endpoint& endpoint, PortUse use) {
  return open_bound(endpoint, SOCK_DGRAM, "UDP port", use);
}

Endpoint bound_endpoint(const Fd& fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  CHECK(::getsockname(fd.get(), address.data(), &address.size) == 0);
  return SocketAddress::to_endpoint(address.storage);
}

}  // namespace dh::io
