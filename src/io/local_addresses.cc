#include "io/local_addresses.hh"

#include <algorithm>
#include <bit>
#include <cstring>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "io/listen_socket.hh"

namespace dh::io {
namespace {

int rank(const IpAddress& address) {
  if (address.is_loopback()) return 2;
  return address.is_v4() ? 0 : 1;
}

unsigned prefix_bits(const sockaddr* mask) {
  if (mask == nullptr) return 0;
  ByteArray<16> bytes{};
  std::size_t size = 0;
  if (mask->sa_family == AF_INET) {
    size = 4;
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in*>(mask)->sin_addr, size);
  } else if (mask->sa_family == AF_INET6) {
    size = 16;
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr, size);
  }
  unsigned bits = 0;
  for (std::size_t i = 0; i < size; ++i)
    bits += static_cast<unsigned>(std::popcount(static_cast<unsigned>(bytes[i])));
  return bits;
}

// 0: unknown.
std::size_t interface_mtu(const Fd& fd, const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  if (!fd || ::ioctl(fd.get(), SIOCGIFMTU, &request) != 0 || request.ifr_mtu < 0) return 0;
  return static_cast<std::size_t>(request.ifr_mtu);
}

std::optional<IpAddress> source_towards(const Endpoint& to) {
  const Fd fd(::socket(to.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = SocketAddress::from(to);
  if (!fd || ::connect(fd.get(), address.data(), address.size) != 0) return std::nullopt;
  return bound_endpoint(fd).address;
}

}  // namespace

std::vector<path::LocalAddress> local_networks() {
  std::vector<path::LocalAddress> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  const Fd any_socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    IpAddress address;
    if (entry->ifa_addr->sa_family == AF_INET) {
      sockaddr_in v4{};
      std::memcpy(&v4, entry->ifa_addr, sizeof v4);
      ByteArray<4> bytes;
      std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
      address = IpAddress::v4(bytes);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 v6{};
      std::memcpy(&v6, entry->ifa_addr, sizeof v6);
      ByteArray<16> bytes;
      std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
      address = IpAddress::v6(bytes);
    } else {
      continue;
    }
    if (address.is_link_local() || address.is_unspecified()) continue;
    const bool known = std::any_of(out.begin(), out.end(),
                                   [&](const path::LocalAddress& a) { return a.address == address; });
    if (!known)
      out.push_back({address, prefix_bits(entry->ifa_netmask), interface_mtu(any_socket, entry->ifa_name)});
  }
  freeifaddrs(list);
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return rank(a.address) < rank(b.address); });
  return out;
}

std::vector<IpAddress> local_addresses() {
  std::vector<IpAddress> out;
  for (const path::LocalAddress& local : local_networks()) out.push_back(local.address);
  return out;
}

NetworkState network_state() {
  NetworkState state;
  state.addresses = local_networks();
  // Any address outside will do; connecting a datagram socket only looks up the route.
  state.uplink_v4 = source_towards({IpAddress::v4(1, 1, 1, 1), 9});
  state.uplink_v6 = source_towards({*IpAddress::parse("2606:4700:4700::1111"), 9});
  return state;
}

}  // namespace dh::io
