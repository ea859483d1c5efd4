#include "path/destination_filter.hh"

#include <algorithm>

namespace dh::path {
namespace {

constexpr std::uint16_t kFirstPort = 1024;  // below are services, and no NAT of ours maps there

unsigned byte_at(const IpAddress& address, std::size_t i) {
  return static_cast<unsigned>(address.mapped()[i]);
}

// All host bits set: a directed broadcast of that network.
bool is_broadcast_of(const IpAddress& address, const LocalAddress& local) {
  if (!address.is_v4() || !local.address.is_v4() || local.prefix_bits >= 31) return false;
  if (!same_prefix(address, local.address, local.prefix_bits)) return false;
  const std::uint32_t host_mask = local.prefix_bits == 0 ? ~0u : (1u << (32 - local.prefix_bits)) - 1;
  const auto bytes = address.v4_bytes();
  return (load_be32(bytes.data()) & host_mask) == host_mask;
}

// Addresses that carry an IPv4 address inside: where they lead is not what they look like.
bool embeds_v4(const IpAddress& a) {
  if (a.is_v4()) return false;
  const unsigned first = byte_at(a, 0) << 8 | byte_at(a, 1);
  const unsigned second = byte_at(a, 2) << 8 | byte_at(a, 3);
  const bool nat64 = first == 0x0064 && second == 0xff9b;
  const bool six_to_four = first == 0x2002;
  const bool teredo = first == 0x2001 && second == 0;
  const bool compatible =
      std::all_of(a.mapped().begin(), a.mapped().begin() + 12, [](std::byte b) { return b == std::byte{0}; });
  return nat64 || six_to_four || teredo || compatible;
}

}  // namespace

bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits) {
  if (a.is_v4() != b.is_v4()) return false;
  const std::size_t start = a.is_v4() ? 12 : 0;
  bits = std::min<unsigned>(bits, a.is_v4() ? 32 : 128);
  for (std::size_t i = 0; i < bits / 8; ++i)
    if (a.mapped()[start + i] != b.mapped()[start + i]) return false;
  const unsigned rest = bits % 8;
  if (rest == 0) return true;
  const std::size_t last = start + bits / 8;
  return (byte_at(a, last) >> (8 - rest)) == (byte_at(b, last) >> (8 - rest));
}

bool DestinationFilter::on_our_link(const IpAddress& address) const {
  return address.is_loopback() || std::any_of(local_.begin(), local_.end(), [&](const LocalAddress& local) {
           return same_prefix(address, local.address, local.prefix_bits);
         });
}

bool DestinationFilter::is_reflexive(const IpAddress& address) const {
  return std::find(reflexive_.begin(), reflexive_.end(), address) != reflexive_.end();
}

bool DestinationFilter::forbidden(const IpAddress& address) const {
  if (address.is_loopback()) return !loopback_;
  if (address.is_unspecified() || address.is_multicast() || address.is_link_local()) return true;
  if (address.is_v4()) {
    const unsigned first = byte_at(address, 12);
    if (first == 0 || first == 127 || first >= 240) return true;  // this network, reserved, limited broadcast
  } else if (embeds_v4(address)) {
    return true;
  }
  return std::any_of(local_.begin(), local_.end(),
                     [&](const LocalAddress& local) { return is_broadcast_of(address, local); });
}

bool DestinationFilter::allows(const Endpoint& to, bool shares_our_nat) const {
  if (to.port < kFirstPort || forbidden(to.address)) return false;
  if (to.address.is_private()) return shares_our_nat || on_our_link(to.address);
  return true;
}

bool DestinationFilter::allows_reply(const Endpoint& to) const {
  return to.port != 0 && !forbidden(to.address);
}

}  // namespace dh::path
