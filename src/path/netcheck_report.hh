#pragma once

// What a netcheck found, as plain values; and what that means for a person.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "path/nat_behaviour.hh"

namespace dh::path {

enum class UdpState : std::uint8_t {
  Unavailable,  // this machine has no address or no route of the family
  NotAsked,     // no STUN server with an address of the family was known
  Silent,       // asked, no answer: blocked on the way
  Works,        // at least one answer
};
std::string_view to_string(UdpState state);

struct FamilyReport {
  UdpState udp = UdpState::NotAsked;
  std::size_t servers_asked = 0;
  std::size_t servers_answered = 0;
  std::uint16_t local_port = 0;  // of the socket that asked
  std::vector<Endpoint> mapped;  // its outer endpoints, each once, in the order they were made
  NatBehaviour nat;
  std::optional<bool> other_ports;  // UDP beyond the usual STUN port gets through
};

struct RelayReport {
  std::string name;                          // region code or host
  std::optional<Duration> v4, v6;            // STUN round trips
  std::optional<Duration> connect;           // TCP and TLS set-up, some three round trips; where tried
  std::optional<std::string> connect_error;  // a clause; empty where not tried or successful

  std::optional<Duration> latency() const;  // the smaller STUN round trip
};

/// What the router's port mapping protocols said.
struct PortMappingReport {
  bool pcp = false, nat_pmp = false, upnp = false;  // answered at all
  std::optional<Endpoint> external;                 // what a mapping, made for the check, would be reached at
};

struct NetcheckReport {
  FamilyReport v4, v6;
  std::vector<RelayReport> relays;                // nearest first, silent ones last
  std::optional<PortMappingReport> port_mapping;  // empty: not asked
};

/// A mapping's external address is not the one the world sees: another NAT stands in front of the router.
bool has_double_nat(const NetcheckReport& report);

enum class VerdictKind : std::uint8_t {
  NoNetwork,         // nothing answers: neither STUN nor a relay
  RelayUnreachable,  // UDP works, but no relay accepts a connection: no session can begin
  RelayOnly,         // UDP is blocked
  Suspicious,        // UDP answers on the STUN port and on no other
  Open,              // almost everybody
  Easy,              // all but peers behind hard NATs
  Hard,              // only peers behind easy NATs
  Unclear,           // UDP gets out; nothing more is known
};
std::string_view to_string(VerdictKind kind);

struct Verdict {
  VerdictKind kind = VerdictKind::NoNetwork;
  /// True only where a packet from an address that was never sent to came in. Everything else is likely, no
  /// more: firewalls exist that let STUN pass and nothing else.
  bool proven = false;
  std::string sentence;
  std::vector<std::string> advice;  // what a person could do, most useful first; may be empty
};
Verdict judge(const NetcheckReport& report);

/// The kinds of peer a person may have to do with, and what to expect of each.
struct PeerOutlook {
  std::string_view peer;
  Outlook outlook = Outlook::Unknown;
};
std::vector<PeerOutlook> peer_outlooks(const NetcheckReport& report);

/// `port-restricted NAT`, `symmetric NAT, random ports`, `no NAT, firewall`: what people call it.
std::string nat_name(const FamilyReport& family);

}  // namespace dh::path
