#include "netcheck_text.hh"

#include <algorithm>

#include <fmt/format.h>

#include "base/printable.hh"
#include "reporter.hh"

namespace dh::app {
namespace {

using path::FamilyReport;
using path::NatFiltering;
using path::NatMapping;
using path::NatPorts;
using path::NetcheckReport;
using path::RelayReport;
using path::UdpState;

constexpr std::size_t kNearest = 6;       // relays shown without --verbose
constexpr std::size_t kMaxName = 40;      // bytes of a relay's name, which is somebody else's text
constexpr std::size_t kColumn = 15;       // where values begin
constexpr std::size_t kMaxColumns = 100;  // advice is wrapped here

double milliseconds(Duration duration) {
  return to_seconds(duration) * 1000;
}

std::string shown_time(Duration duration) {
  const double ms = milliseconds(duration);
  return fmt::format("{:.{}f} ms", ms, ms < 10 ? 1 : 0);
}

std::string row(std::string_view name, std::string_view value) {
  return fmt::format("{:<{}}{}\n", name, kColumn, value);
}

std::string_view words(UdpState state) {
  switch (state) {
    case UdpState::Unavailable:
      return "not available on this machine";
    case UdpState::NotAsked:
      return "not tried (no STUN server)";
    case UdpState::Silent:
      return "blocked (no answer)";
    case UdpState::Works:
      return "works";
  }
  return "";
}

std::string_view words(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::Unknown:
      return "unknown (one server's answer proves nothing)";
    case NatMapping::EndpointIndependent:
      return "the same for every destination (endpoint-independent)";
    case NatMapping::AddressDependent:
      return "another one for every address (address-dependent)";
    case NatMapping::AddressAndPortDependent:
      return "another one for every destination (address-and-port-dependent)";
    case NatMapping::Dependent:
      return "depends on the destination";
  }
  return "";
}

std::string_view words(NatFiltering filtering) {
  switch (filtering) {
    case NatFiltering::Unknown:
      return "unknown (needs a STUN server with two addresses)";
    case NatFiltering::EndpointIndependent:
      return "lets in everybody (endpoint-independent)";
    case NatFiltering::AddressDependent:
      return "lets in addresses that were sent to (address-dependent)";
    case NatFiltering::AddressAndPortDependent:
      return "lets in only what was sent to (address-and-port-dependent)";
  }
  return "";
}

std::string words(const path::NatBehaviour& nat) {
  switch (nat.ports) {
    case NatPorts::Unknown:
      return "unknown";
    case NatPorts::Preserved:
      return "the same outside as inside";
    case NatPorts::Stable:
      return "changed, the same for every destination";
    case NatPorts::Sequential:
      return fmt::format("counted by {}: the next one can be guessed", nat.stride);
    case NatPorts::Random:
      return "random: the next one cannot be guessed";
  }
  return "";
}

std::string family_text(const FamilyReport& family, std::string_view label) {
  if (family.udp != UdpState::Works) return "";
  std::string out = row(label, path::nat_name(family));
  out += row("  mapping", words(family.nat.mapping));
  out += row("  filter", words(family.nat.filtering));
  if (family.nat.translated == true) out += row("  ports", words(family.nat));
  if (family.nat.hairpin) out += row("  hairpin", *family.nat.hairpin ? "yes" : "no");
  if (family.other_ports == false) out += row("  UDP ports", "only the STUN port answers");
  std::string seen = family.mapped.at(0).to_string();
  if (family.mapped.size() > 1) seen += fmt::format(" and {} more", family.mapped.size() - 1);
  return out + row("  seen as", seen);
}

std::string port_mapping_text(const NetcheckReport& report) {
  if (!report.port_mapping) return "";
  const path::PortMappingReport& mapping = *report.port_mapping;
  std::string names;
  const auto add = [&](bool there, std::string_view name) {
    if (there) names += (names.empty() ? "" : ", ") + std::string(name);
  };
  add(mapping.pcp, "PCP");
  add(mapping.nat_pmp, "NAT-PMP");
  add(mapping.upnp, "UPnP");
  std::string value = names.empty() ? "none (PCP, NAT-PMP and UPnP do not answer)" : names;
  if (mapping.external) value += " gives " + mapping.external->to_string();
  if (!mapping.external && !names.empty()) value += " answers, but gives no mapping";
  if (path::has_double_nat(report)) value += " (behind another NAT)";
  return row("Port mapping", value);
}

std::string relay_text(const RelayReport& relay, std::size_t width) {
  std::string out = fmt::format("{:<{}}  ", printable(relay.name, kMaxName), width);
  if (relay.latency()) out += shown_time(*relay.latency());
  if (!relay.latency()) out += relay.connect || relay.connect_error ? "no STUN answer" : "no answer";
  if (relay.connect) out += fmt::format(", connects in {}", shown_time(*relay.connect));
  if (relay.connect_error) out += ", does not connect: " + printable(*relay.connect_error);
  return out;
}

std::string relays_text(const std::vector<RelayReport>& relays, bool all) {
  const std::size_t shown = all ? relays.size() : std::min(kNearest, relays.size());
  std::size_t width = 0;
  for (std::size_t i = 0; i < shown; ++i) width = std::max(width, printable(relays[i].name, kMaxName).size());
  std::string out;
  for (std::size_t i = 0; i < shown; ++i) out += row(i == 0 ? "Relays" : "", relay_text(relays[i], width));
  if (shown < relays.size()) out += row("", fmt::format("and {} more (--verbose)", relays.size() - shown));
  return out;
}

std::string peers_text(const std::vector<path::PeerOutlook>& outlooks) {
  std::string out;
  for (const path::Outlook outlook :
       {path::Outlook::Direct, path::Outlook::Search, path::Outlook::Relay, path::Outlook::Unknown}) {
    std::string peers;
    for (const path::PeerOutlook& entry : outlooks) {
      if (entry.outlook != outlook || entry.peer == "udp-blocked") continue;
      if (entry.peer == "ipv6" && outlook != path::Outlook::Direct) continue;
      peers += (peers.empty() ? "" : ", ") + std::string(entry.peer == "ipv6" ? "IPv6" : entry.peer);
    }
    if (peers.empty()) continue;
    const std::string_view how = outlook == path::Outlook::Direct   ? "direct"
                                 : outlook == path::Outlook::Search ? "only by searching for ports"
                                 : outlook == path::Outlook::Relay  ? "relay"
                                                                    : "unknown";
    out += row(out.empty() ? "With peers" : "", fmt::format("{}: {}", how, peers));
  }
  return out;
}

// Wraps at spaces; following lines are indented.
std::string item(std::string_view text) {
  std::string out = "-";
  std::size_t column = 1;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (column + 1 + word.size() > kMaxColumns) {
      out += "\n ";
      column = 1;
    }
    out += " " + std::string(word);
    column += 1 + word.size();
  }
  return out + "\n";
}

std::string json(std::optional<bool> value) {
  return !value ? "null" : *value ? "true" : "false";
}

std::string json_ms(std::optional<Duration> value) {
  return value ? fmt::format("{:.3f}", milliseconds(*value)) : "null";
}

std::string json(const FamilyReport& family) {
  std::string mapped;
  for (const Endpoint& endpoint : family.mapped)
    mapped += (mapped.empty() ? "" : ",") + Reporter::text(endpoint.to_string());
  const path::NatBehaviour& nat = family.nat;
  return fmt::format(
      R"({{"state":{},"servers_asked":{},"servers_answered":{},"local_port":{},"mapped":[{}],"nat":{},)"
      R"("translated":{},"mapping":{},"filtering":{},"ports":{},"stride":{},"hairpin":{},"other_ports":{}}})",
      Reporter::text(to_string(family.udp)), family.servers_asked, family.servers_answered, family.local_port,
      mapped, Reporter::text(path::nat_name(family)), json(nat.translated),
      Reporter::text(to_string(nat.mapping)), Reporter::text(to_string(nat.filtering)),
      Reporter::text(to_string(nat.ports)),
      nat.ports == NatPorts::Sequential ? std::to_string(nat.stride) : "null", json(nat.hairpin),
      json(family.other_ports));
}

std::string json(const RelayReport& relay) {
  return fmt::format(R"({{"name":{},"ipv4_ms":{},"ipv6_ms":{},"connect_ms":{},"connect_error":{}}})",
                     Reporter::text(printable(relay.name, kMaxName)), json_ms(relay.v4), json_ms(relay.v6),
                     json_ms(relay.connect),
                     relay.connect_error ? Reporter::text(printable(*relay.connect_error)) : "null");
}

std::string json(const std::optional<path::PortMappingReport>& mapping) {
  if (!mapping) return "null";
  return fmt::format(R"({{"pcp":{},"nat_pmp":{},"upnp":{},"external":{}}})", mapping->pcp, mapping->nat_pmp,
                     mapping->upnp,
                     mapping->external ? Reporter::text(mapping->external->to_string()) : "null");
}

}  // namespace

std::string netcheck_text(const io::NetcheckResult& result, bool all_relays) {
  const NetcheckReport& report = result.report;
  const path::Verdict verdict = path::judge(report);
  std::string out = verdict.sentence + "\n\n";
  out += row("UDP", fmt::format("IPv4 {}, IPv6 {}", words(report.v4.udp), words(report.v6.udp)));
  out += family_text(report.v4, "NAT");
  out += family_text(report.v6, "IPv6 NAT");
  out += port_mapping_text(report);
  const auto peers = path::peer_outlooks(report);
  const bool hope =
      std::ranges::any_of(peers, [](const auto& entry) { return entry.outlook != path::Outlook::Relay; });
  if (hope) out += peers_text(peers);
  out += relays_text(report.relays, all_relays);
  if (!result.note.empty()) out += "\nNote: " + printable(result.note, 500) + "\n";
  if (!verdict.advice.empty()) out += "\nTo improve this:\n";
  for (const std::string& advice : verdict.advice) out += item(advice);
  return out;
}

std::string netcheck_json(const io::NetcheckResult& result) {
  const NetcheckReport& report = result.report;
  const path::Verdict verdict = path::judge(report);
  std::string advice, peers, relays;
  for (const std::string& text : verdict.advice) advice += (advice.empty() ? "" : ",") + Reporter::text(text);
  for (const path::PeerOutlook& entry : path::peer_outlooks(report)) {
    peers += fmt::format("{}{}:{}", peers.empty() ? "" : ",", Reporter::text(entry.peer),
                         Reporter::text(to_string(entry.outlook)));
  }
  for (const RelayReport& relay : report.relays) relays += (relays.empty() ? "" : ",") + json(relay);
  return fmt::format(
      R"({{"verdict":{},"proven":{},"sentence":{},"advice":[{}],"ipv4":{},"ipv6":{},"port_mapping":{},)"
      R"("double_nat":{},"peers":{{{}}},"relays":[{}],"note":{},"seconds":{:.3f}}})",
      Reporter::text(to_string(verdict.kind)), verdict.proven, Reporter::text(verdict.sentence), advice,
      json(report.v4), json(report.v6), json(report.port_mapping), path::has_double_nat(report), peers,
      relays, result.note.empty() ? "null" : Reporter::text(printable(result.note, 500)),
      to_seconds(result.took));
}

}  // namespace dh::app
