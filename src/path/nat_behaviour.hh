#pragma once

// What a NAT does with UDP, in the words of RFC 4787, deduced from what STUN servers saw; and what two hosts
// behind such NATs may expect of each other. Values and pure functions.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/address.hh"
#include "base/time.hh"

namespace dh::path {

/// Which outer endpoint a socket gets for different destinations (RFC 4787 §4.1).
enum class NatMapping : std::uint8_t {
  Unknown,  // answers from fewer than two addresses that agree prove nothing
  EndpointIndependent,
  AddressDependent,
  AddressAndPortDependent,
  Dependent,  // another one for another address; whether the port counts too was not seen
};

/// From where a mapped endpoint may be reached (RFC 4787 §5).
enum class NatFiltering : std::uint8_t {
  Unknown,
  EndpointIndependent,      // from anywhere
  AddressDependent,         // from addresses that were sent to
  AddressAndPortDependent,  // from endpoints that were sent to
};

enum class NatPorts : std::uint8_t {
  Unknown,
  Preserved,   // outside as inside
  Stable,      // another one, the same for every destination
  Sequential,  // counts by a small stride: the next one can be guessed
  Random,
};

std::string_view to_string(NatMapping mapping);
std::string_view to_string(NatFiltering filtering);
std::string_view to_string(NatPorts ports);

struct NatBehaviour {
  std::optional<bool> translated;  // false: no NAT, the outer address is one of this host's
  NatMapping mapping = NatMapping::Unknown;
  NatFiltering filtering = NatFiltering::Unknown;
  NatPorts ports = NatPorts::Unknown;
  int stride = 0;               // Sequential: ports from one mapping to the next, may be negative
  std::optional<bool> hairpin;  // inside hosts reach each other by their outer endpoints
  bool operator==(const NatBehaviour&) const = default;

  bool varies() const;  // the mapping depends on the destination
};

/// What one server said about one socket.
struct MappingSample {
  std::uint8_t socket = 0;
  std::uint16_t local_port = 0;
  Endpoint server;
  Endpoint mapped;
  Instant asked_at;  // first request: when the NAT made the mapping
};

/// Compares answers to one socket. Never says EndpointIndependent from servers on a single address.
NatMapping deduce_mapping(std::span<const MappingSample> samples);

struct PortPattern {
  NatPorts ports = NatPorts::Unknown;
  int stride = 0;
  bool operator==(const PortPattern&) const = default;
};
/// Over all sockets, as a NAT counts over all of them. Sequential needs three mappings made in a row, where
/// foreign traffic may have taken a few ports in between.
PortPattern deduce_ports(std::span<const MappingSample> samples, NatMapping mapping);

/// Whether answers came from where nothing was sent to. Empty: not tried, or that end of the server may be
/// dead.
struct FilteringEvidence {
  std::optional<bool> other_address_and_port;
  std::optional<bool> other_port;
};
NatFiltering deduce_filtering(const FilteringEvidence& evidence);

/// One host, as another one has to reckon with it.
struct Reachability {
  bool udp = true;
  bool port_mapped = false;  // a router forwards a port to it
  NatMapping mapping = NatMapping::Unknown;
  NatFiltering filtering = NatFiltering::Unknown;
  NatPorts ports = NatPorts::Unknown;
};
Reachability reachability(const NatBehaviour& nat);

enum class Outlook : std::uint8_t {
  Direct,   // ordinary hole punching succeeds
  Search,   // only by guessing ports: takes seconds, may fail
  Relay,    // no way around the relay
  Unknown,  // too little is known
};
std::string_view to_string(Outlook outlook);

/// What two hosts get whose NATs are as described. Symmetric. Unknown filtering counts as the strictest.
Outlook outlook(const Reachability& a, const Reachability& b);

}  // namespace dh::path
