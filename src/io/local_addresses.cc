#include "io/local_addresses.hh"

#include <algorithm>
#include <cstring>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

namespace dh::io {
namespace {

int rank(const IpAddress& address) {
  if (address.is_loopback()) return 2;
  return address.is_v4() ? 0 : 1;
}

}  // namespace

std::vector<IpAddress> local_addresses() {
  std::vector<IpAddress> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
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
    if (std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
  }
  freeifaddrs(list);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return out;
}

}  // namespace dh::io
