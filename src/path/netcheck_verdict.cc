#include <algorithm>
#include <array>

#include "path/netcheck_report.hh"

namespace dh::path {
namespace {

bool works(const FamilyReport& family) {
  return family.udp == UdpState::Works;
}

// What a peer of this family has to reckon with; port mappings are for IPv4.
Reachability reachability_of(const NetcheckReport& report, bool v6) {
  const FamilyReport& family = v6 ? report.v6 : report.v4;
  Reachability out = reachability(family.nat);
  out.udp = works(family) && family.other_ports != false;
  out.port_mapped = !v6 && report.port_mapping && report.port_mapping->external;
  // Without a NAT there is one endpoint for all destinations, whoever has answered.
  if (family.nat.translated == false) out.mapping = NatMapping::EndpointIndependent;
  return out;
}

// How open one host is, from what it gets with a peer behind a strict but stable NAT and one behind a
// symmetric NAT.
VerdictKind openness(const Reachability& host) {
  if (!host.udp) return VerdictKind::RelayOnly;
  const bool mapped = host.port_mapped;
  if (!mapped && host.mapping == NatMapping::Unknown && host.filtering != NatFiltering::EndpointIndependent)
    return VerdictKind::Unclear;
  const Reachability strict{.mapping = NatMapping::EndpointIndependent,
                            .filtering = NatFiltering::AddressAndPortDependent};
  const Reachability symmetric{.mapping = NatMapping::AddressAndPortDependent,
                               .filtering = NatFiltering::AddressAndPortDependent,
                               .ports = NatPorts::Random};
  if (outlook(host, symmetric) == Outlook::Direct) return VerdictKind::Open;
  return outlook(host, strict) == Outlook::Direct ? VerdictKind::Easy : VerdictKind::Hard;
}

int rank(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::Open:
      return 4;
    case VerdictKind::Easy:
      return 3;
    case VerdictKind::Hard:
      return 2;
    case VerdictKind::Unclear:
      return 1;
    case VerdictKind::NoNetwork:
    case VerdictKind::RelayUnreachable:
    case VerdictKind::RelayOnly:
    case VerdictKind::Suspicious:
      return 0;
  }
  return 0;
}

VerdictKind classify(const NetcheckReport& report) {
  const bool udp = works(report.v4) || works(report.v6);
  const bool tried = std::ranges::any_of(
      report.relays, [](const RelayReport& relay) { return relay.connect || relay.connect_error; });
  const bool connects =
      std::ranges::any_of(report.relays, [](const RelayReport& relay) { return relay.connect.has_value(); });
  if (!udp && !connects) return VerdictKind::NoNetwork;
  if (!udp) return VerdictKind::RelayOnly;
  if (tried && !connects) return VerdictKind::RelayUnreachable;
  const bool v4_only_stun = !works(report.v4) || report.v4.other_ports == false;
  const bool v6_only_stun = !works(report.v6) || report.v6.other_ports == false;
  if (v4_only_stun && v6_only_stun) return VerdictKind::Suspicious;
  // IPv4 decides: an IPv6 path needs a peer that has IPv6, too.
  const VerdictKind v4 = openness(reachability_of(report, false));
  const VerdictKind v6 = openness(reachability_of(report, true));
  if (works(report.v4) && report.v4.other_ports != false) return v4;
  return rank(v6) > rank(v4) ? v6 : v4;
}

std::string sentence_for(VerdictKind kind, const NetcheckReport& report, bool proven) {
  const bool filtering_known = report.v4.nat.filtering != NatFiltering::Unknown;
  const bool only_v6 = !works(report.v4) && works(report.v6);
  const std::string over = only_v6 ? " that have IPv6" : "";
  switch (kind) {
    case VerdictKind::NoNetwork:
      return "No network: neither a STUN server nor a relay answers.";
    case VerdictKind::RelayUnreachable:
      return "UDP works, but no relay accepts a connection, so no session can begin.";
    case VerdictKind::RelayOnly:
      return "UDP is blocked here: sessions stay on the relay.";
    case VerdictKind::Suspicious:
      return "UDP gets through to the STUN port and to no other: sessions will probably stay on the relay.";
    case VerdictKind::Open:
      if (proven) return "Direct connections will work with almost everybody" + over + ".";
      return "Direct connections should work with almost everybody" + over +
             " (unproven until a peer tries).";
    case VerdictKind::Easy:
      return "Direct connections should work with most peers" + over +
             "; those behind symmetric NATs need a search for ports (unproven until a peer tries" +
             (filtering_known ? ")." : "; no server here could test the filter).");
    case VerdictKind::Hard:
      return "Direct connections will work only with peers" + over +
             " behind easy NATs; with others, sessions stay on the relay or need a search for ports.";
    case VerdictKind::Unclear:
      return "UDP gets out, but too few servers answered to say what this NAT does with it: direct "
             "connections "
             "are unproven.";
  }
  return "";
}

std::vector<std::string> advice_for(VerdictKind kind, const NetcheckReport& report) {
  std::vector<std::string> out;
  const auto& mapping = report.port_mapping;
  const bool behind_nat = report.v4.nat.translated == true;
  switch (kind) {
    case VerdictKind::NoNetwork:
      out.push_back("Check the cable, the Wi-Fi and any login page of this network.");
      return out;
    case VerdictKind::RelayUnreachable:
      out.push_back("Let TCP out to the relays (usually port 443), or name a proxy in HTTPS_PROXY.");
      return out;
    case VerdictKind::RelayOnly:
      out.push_back("Open outgoing UDP in this network's firewall, and in this machine's own.");
      return out;
    case VerdictKind::Suspicious:
      out.push_back(
          "Open outgoing UDP to all ports in this network's firewall. (Or the STUN server's second port is "
          "closed: then only its operator can tell.)");
      return out;
    case VerdictKind::Open:
      if (mapping && mapping->external) {
        out.push_back(
            "If this machine has a firewall of its own, let UDP in for derphole: the router's port mapping "
            "does "
            "not open it.");
      }
      break;
    case VerdictKind::Easy:
    case VerdictKind::Hard:
    case VerdictKind::Unclear:
      if (behind_nat && mapping && !mapping->external) {
        out.push_back(
            mapping->pcp || mapping->nat_pmp || mapping->upnp
                ? "The router speaks a port mapping protocol but gave no mapping: allow it in its settings."
                : "Turn on PCP, NAT-PMP or UPnP in the router: a port mapping makes this host easy to "
                  "reach.");
      }
      if (report.v4.nat.translated == false)
        out.push_back(
            "This host has a public address: letting UDP in through its firewall makes it easy to reach.");
      break;
  }
  if (has_double_nat(report))
    out.push_back(
        "Two NATs stand in a row (router behind router, or the provider's): the port mapping helps only "
        "peers "
        "behind the same outer one. Bridge mode or IPv6 would help.");
  const bool unknown = works(report.v4) && (report.v4.nat.mapping == NatMapping::Unknown ||
                                            report.v4.nat.filtering == NatFiltering::Unknown);
  if (unknown)
    out.push_back(
        "To learn more, ask a relay with two addresses: `derphole relay --stun ADDR1:3478,ADDR2:3479`, then "
        "`derphole netcheck --derp-server URL`.");
  const bool no_v6 = report.v6.udp == UdpState::Silent || report.v6.udp == UdpState::Unavailable;
  if (no_v6 && kind != VerdictKind::Open)
    out.push_back("IPv6 would avoid the NAT with peers that have it, too; it does not work here.");
  return out;
}

}  // namespace

std::string_view to_string(UdpState state) {
  switch (state) {
    case UdpState::Unavailable:
      return "unavailable";
    case UdpState::NotAsked:
      return "not-asked";
    case UdpState::Silent:
      return "silent";
    case UdpState::Works:
      return "works";
  }
  return "unknown";
}

std::string_view to_string(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::NoNetwork:
      return "no-network";
    case VerdictKind::RelayUnreachable:
      return "relay-unreachable";
    case VerdictKind::RelayOnly:
      return "relay-only";
    case VerdictKind::Suspicious:
      return "suspicious";
    case VerdictKind::Open:
      return "open";
    case VerdictKind::Easy:
      return "easy";
    case VerdictKind::Hard:
      return "hard";
    case VerdictKind::Unclear:
      return "unclear";
  }
  return "unknown";
}

std::optional<Duration> RelayReport::latency() const {
  if (!v4 || !v6) return v4 ? v4 : v6;
  return std::min(*v4, *v6);
}

bool has_double_nat(const NetcheckReport& report) {
  if (!report.port_mapping || !report.port_mapping->external) return false;
  const IpAddress outer = report.port_mapping->external->address;
  if (outer.is_private()) return true;
  // Providers map one customer to several addresses: one that fits is enough.
  const auto& mapped = report.v4.mapped;
  return !mapped.empty() &&
         std::ranges::none_of(mapped, [&](const Endpoint& seen) { return seen.address == outer; });
}

Verdict judge(const NetcheckReport& full) {
  // A mapping that ends at an inner NAT opens nothing to the world.
  NetcheckReport report = full;
  const bool useless = has_double_nat(full);
  if (useless) report.port_mapping.reset();
  Verdict out;
  out.kind = classify(report);
  out.proven = report.v4.nat.filtering == NatFiltering::EndpointIndependent ||
               (!works(report.v4) && report.v6.nat.filtering == NatFiltering::EndpointIndependent);
  out.proven = out.proven && out.kind == VerdictKind::Open;
  out.sentence = sentence_for(out.kind, report, out.proven);
  out.advice = advice_for(out.kind, full);
  return out;
}

std::vector<PeerOutlook> peer_outlooks(const NetcheckReport& full) {
  NetcheckReport report = full;
  if (has_double_nat(full)) report.port_mapping.reset();
  using M = NatMapping;
  using F = NatFiltering;
  struct Peer {
    std::string_view name;
    Reachability host;
  };
  const std::array<Peer, 5> peers = {{
      {"open", {.mapping = M::EndpointIndependent, .filtering = F::EndpointIndependent}},
      {"address-restricted", {.mapping = M::EndpointIndependent, .filtering = F::AddressDependent}},
      {"port-restricted", {.mapping = M::EndpointIndependent, .filtering = F::AddressAndPortDependent}},
      {"symmetric",
       {.mapping = M::AddressAndPortDependent,
        .filtering = F::AddressAndPortDependent,
        .ports = NatPorts::Random}},
      {"udp-blocked", {.udp = false}},
  }};
  const Reachability self = reachability_of(report, false);
  std::vector<PeerOutlook> out;
  out.reserve(peers.size() + 1);
  for (const Peer& peer : peers) out.push_back({peer.name, outlook(self, peer.host)});
  // With IPv6 at both ends there is usually a firewall and no NAT.
  const Reachability firewalled{.mapping = M::EndpointIndependent, .filtering = F::AddressAndPortDependent};
  out.push_back({"ipv6", outlook(reachability_of(report, true), firewalled)});
  return out;
}

std::string nat_name(const FamilyReport& family) {
  const NatBehaviour& nat = family.nat;
  if (!works(family) || !nat.translated) return "unknown";
  if (!*nat.translated) {
    switch (nat.filtering) {
      case NatFiltering::Unknown:
        return "none";
      case NatFiltering::EndpointIndependent:
        return "none, no firewall";
      case NatFiltering::AddressDependent:
      case NatFiltering::AddressAndPortDependent:
        return "none, but a firewall";
    }
  }
  if (nat.varies()) {
    std::string out = nat.mapping == NatMapping::AddressDependent ? "address-dependent" : "symmetric";
    if (nat.ports == NatPorts::Sequential) return out + ", sequential ports";
    return nat.ports == NatPorts::Random ? out + ", random ports" : out;
  }
  if (nat.mapping == NatMapping::Unknown) return "yes, of an unknown kind";
  switch (nat.filtering) {
    case NatFiltering::Unknown:
      return "easy (same mapping for all), filter unknown";
    case NatFiltering::EndpointIndependent:
      return "full cone";
    case NatFiltering::AddressDependent:
      return "address-restricted";
    case NatFiltering::AddressAndPortDependent:
      return "port-restricted";
  }
  return "unknown";
}

}  // namespace dh::path
