#include "io/gateway.hh"

#include <cstring>
#include <limits>
#include <vector>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/bytes.hh"
#include "io/listen_socket.hh"
#include "io/local_addresses.hh"

namespace dh::io {
namespace {

constexpr std::size_t kReceiveBytes = 32u << 10;  // the kernel fills at most this much per message of a dump
constexpr int kMaxMessages = 4096;                // a full internet routing table is not worth reading here

struct Found {
  std::optional<IpAddress> gateway;
  unsigned interface = 0;
  std::uint32_t metric = 0;
};

std::optional<IpAddress> read_address(const rtattr* attribute) {
  const std::size_t size = RTA_PAYLOAD(attribute);
  if (size == 4) {
    ByteArray<4> bytes;
    std::memcpy(bytes.data(), RTA_DATA(attribute), size);
    return IpAddress::v4(bytes);
  }
  if (size != 16) return std::nullopt;
  ByteArray<16> bytes;
  std::memcpy(bytes.data(), RTA_DATA(attribute), size);
  return IpAddress::v6(bytes);
}

std::uint32_t read_u32(const rtattr* attribute) {
  std::uint32_t value = 0;
  if (RTA_PAYLOAD(attribute) >= sizeof value) std::memcpy(&value, RTA_DATA(attribute), sizeof value);
  return value;
}

std::optional<Found> read_default_route(const nlmsghdr* header) {
  const auto* route = static_cast<const rtmsg*>(NLMSG_DATA(header));
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg)) || header->nlmsg_type != RTM_NEWROUTE ||
      route->rtm_dst_len != 0 || route->rtm_type != RTN_UNICAST)
    return std::nullopt;
  Found found;
  std::uint32_t table = route->rtm_table;
  auto left = static_cast<int>(RTM_PAYLOAD(header));
  for (const rtattr* attribute = RTM_RTA(route); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    switch (attribute->rta_type) {
      case RTA_GATEWAY:
        found.gateway = read_address(attribute);
        break;
      case RTA_OIF:
        found.interface = read_u32(attribute);
        break;
      case RTA_PRIORITY:
        found.metric = read_u32(attribute);
        break;
      case RTA_TABLE:
        table = read_u32(attribute);
        break;
      default:
        break;
    }
  }
  if (table != RT_TABLE_MAIN) return std::nullopt;
  return found;
}

bool request_routes(const Fd& fd, bool v6) {
  struct {
    nlmsghdr header;
    rtmsg route;
  } request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtmsg));
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.route.rtm_family = static_cast<unsigned char>(v6 ? AF_INET6 : AF_INET);
  return ::send(fd.get(), &request, request.header.nlmsg_len, 0) >= 0;
}

}  // namespace

std::optional<Gateway> default_gateway(bool v6) {
  const Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const timeval limit{.tv_sec = 1, .tv_usec = 0};  // the kernel answers at once; never hang on it
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      !request_routes(fd, v6))
    return std::nullopt;
  std::optional<Found> best;
  alignas(nlmsghdr) std::byte buffer[kReceiveBytes];
  bool done = false;
  for (int i = 0; i < kMaxMessages && !done; ++i) {
    const ssize_t size = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (size <= 0) break;
    auto left = static_cast<unsigned>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
        done = true;
        break;
      }
      const auto found = read_default_route(header);
      if (found && (!best || found->metric < best->metric)) best = found;
    }
  }
  // Of another family than asked for: an IPv4 route by an IPv6 next hop (RFC 5549), nobody to ask.
  if (!best || !best->gateway || best->gateway->is_v6() != v6) return std::nullopt;
  const NetworkState state = network_state();
  const auto& local = v6 ? state.uplink_v6 : state.uplink_v4;
  if (!local) return std::nullopt;
  return Gateway{best->gateway->with_zone(best->interface), *local, best->interface};
}

bool may_map_ports(const Gateway& gateway) {
  if (gateway.address.is_v6()) return true;  // a pinhole is asked for where addresses are public
  return gateway.address.is_private() && gateway.local.is_private();
}

}  // namespace dh::io
