#pragma once

#include <vector>

#include "base/address.hh"

namespace dh::path {

/// One address of this machine with the length of its network's prefix in bits and its interface's MTU.
struct LocalAddress {
  IpAddress address;
  unsigned prefix_bits = 0;
  std::size_t mtu = 0;  // bytes of an IP packet; 0: unknown
  bool operator==(const LocalAddress&) const = default;
};

/// Whether `a` and `b` agree in their first `bits` bits; false for different families.
bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits);

/// Decides where probes may go. The peer is authenticated, not trusted: what it calls its addresses may be
/// somebody else's machine, this machine's own services, or a router's. Spec: docs/protocol/paths.md
/// "Destinations".
class DestinationFilter {
public:
  void set_local(std::vector<LocalAddress> addresses) { local_ = std::move(addresses); }
  /// Our addresses as STUN servers saw them.
  void set_reflexive(std::vector<IpAddress> addresses) { reflexive_ = std::move(addresses); }
  /// The session's relay is on this machine's loopback, and so the peer may be.
  void allow_loopback() { loopback_ = true; }

  /// For an address out of a peer's list. `shares_our_nat`: the list also has one of our own reflexive
  /// addresses, so the peer is behind the same public address and private ones may lead to it.
  bool allows(const Endpoint& to, bool shares_our_nat) const;
  /// For an address an authentic packet came from: ports below 1024 may be answered, too.
  bool allows_reply(const Endpoint& to) const;
  bool is_reflexive(const IpAddress& address) const;
  /// In the network of one of our interfaces, or on this machine.
  bool on_our_link(const IpAddress& address) const;

private:
  bool forbidden(const IpAddress& address) const;

  std::vector<LocalAddress> local_;
  std::vector<IpAddress> reflexive_;
  bool loopback_ = false;
};

}  // namespace dh::path
