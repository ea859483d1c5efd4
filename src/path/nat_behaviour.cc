#include "path/nat_behaviour.hh"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "path/limits.hh"

namespace dh::path {
namespace {

constexpr int kForeignPorts = 4;  // strides that other hosts' traffic may take between two mappings of ours
constexpr std::size_t kEnoughForStride = 3;

// Mappings a NAT that counts has made, in that order. A mapping seen by several servers was made once.
std::vector<Endpoint> in_order(std::span<const MappingSample> samples) {
  std::vector<MappingSample> sorted(samples.begin(), samples.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.asked_at < b.asked_at; });
  std::vector<Endpoint> out;
  for (const MappingSample& sample : sorted)
    if (std::find(out.begin(), out.end(), sample.mapped) == out.end()) out.push_back(sample.mapped);
  return out;
}

// 0: there is none.
int find_stride(const std::vector<Endpoint>& mappings) {
  std::vector<int> steps;
  for (std::size_t i = 1; i < mappings.size(); ++i) {
    if (mappings[i].address != mappings[0].address) return 0;
    steps.push_back(static_cast<int>(mappings[i].port) - static_cast<int>(mappings[i - 1].port));
  }
  if (steps.size() + 1 < kEnoughForStride) return 0;
  const int stride =
      *std::min_element(steps.begin(), steps.end(), [](int a, int b) { return std::abs(a) < std::abs(b); });
  if (stride == 0 || std::abs(stride) > kMaxStride) return 0;
  std::size_t exact = 0;
  for (const int step : steps) {
    if (step % stride != 0 || step / stride < 1 || step / stride > 1 + kForeignPorts) return 0;
    exact += step == stride ? 1 : 0;
  }
  return exact * 2 >= steps.size() ? stride : 0;
}

Reachability effective(const Reachability& host) {
  Reachability out = host;
  if (out.port_mapped) {
    out.mapping = NatMapping::EndpointIndependent;
    out.filtering = NatFiltering::EndpointIndependent;
  }
  return out;
}

bool is_stable(const Reachability& host) {
  return host.mapping == NatMapping::EndpointIndependent;
}

}  // namespace

std::string_view to_string(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::Unknown:
      return "unknown";
    case NatMapping::EndpointIndependent:
      return "endpoint-independent";
    case NatMapping::AddressDependent:
      return "address-dependent";
    case NatMapping::AddressAndPortDependent:
      return "address-and-port-dependent";
    case NatMapping::Dependent:
      return "destination-dependent";
  }
  return "unknown";
}

std::string_view to_string(NatFiltering filtering) {
  switch (filtering) {
    case NatFiltering::Unknown:
      return "unknown";
    case NatFiltering::EndpointIndependent:
      return "endpoint-independent";
    case NatFiltering::AddressDependent:
      return "address-dependent";
    case NatFiltering::AddressAndPortDependent:
      return "address-and-port-dependent";
  }
  return "unknown";
}

std::string_view to_string(NatPorts ports) {
  switch (ports) {
    case NatPorts::Unknown:
      return "unknown";
    case NatPorts::Preserved:
      return "preserved";
    case NatPorts::Stable:
      return "stable";
    case NatPorts::Sequential:
      return "sequential";
    case NatPorts::Random:
      return "random";
  }
  return "unknown";
}

std::string_view to_string(Outlook outlook) {
  switch (outlook) {
    case Outlook::Direct:
      return "direct";
    case Outlook::Search:
      return "search";
    case Outlook::Relay:
      return "relay";
    case Outlook::Unknown:
      return "unknown";
  }
  return "unknown";
}

bool NatBehaviour::varies() const {
  return mapping == NatMapping::AddressDependent || mapping == NatMapping::AddressAndPortDependent ||
         mapping == NatMapping::Dependent;
}

NatMapping deduce_mapping(std::span<const MappingSample> samples) {
  bool addresses_compared = false, ports_compared = false;
  bool address_matters = false, port_matters = false;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t j = i + 1; j < samples.size(); ++j) {
      const MappingSample& a = samples[i];
      const MappingSample& b = samples[j];
      if (a.socket != b.socket || a.server == b.server) continue;
      const bool same_address = a.server.address == b.server.address;
      const bool differ = a.mapped != b.mapped;
      (same_address ? ports_compared : addresses_compared) = true;
      if (differ) (same_address ? port_matters : address_matters) = true;
    }
  }
  if (port_matters) return NatMapping::AddressAndPortDependent;
  if (address_matters) return ports_compared ? NatMapping::AddressDependent : NatMapping::Dependent;
  return addresses_compared ? NatMapping::EndpointIndependent : NatMapping::Unknown;
}

PortPattern deduce_ports(std::span<const MappingSample> samples, NatMapping mapping) {
  if (samples.empty()) return {};
  const auto kept = [](const MappingSample& sample) { return sample.mapped.port == sample.local_port; };
  if (std::all_of(samples.begin(), samples.end(), kept)) return {NatPorts::Preserved, 0};
  if (mapping == NatMapping::Unknown) return {};
  if (mapping == NatMapping::EndpointIndependent) return {NatPorts::Stable, 0};
  const std::vector<Endpoint> mappings = in_order(samples);
  if (mappings.size() < kEnoughForStride) return {};
  const int stride = find_stride(mappings);
  if (stride != 0) return {NatPorts::Sequential, stride};
  return {NatPorts::Random, 0};
}

NatFiltering deduce_filtering(const FilteringEvidence& evidence) {
  if (evidence.other_address_and_port == true) return NatFiltering::EndpointIndependent;
  if (!evidence.other_address_and_port || !evidence.other_port) return NatFiltering::Unknown;
  return *evidence.other_port ? NatFiltering::AddressDependent : NatFiltering::AddressAndPortDependent;
}

Reachability reachability(const NatBehaviour& nat) {
  return {.udp = true,
          .port_mapped = false,
          .mapping = nat.mapping,
          .filtering = nat.filtering,
          .ports = nat.ports};
}

Outlook outlook(const Reachability& first, const Reachability& second) {
  if (!first.udp || !second.udp) return Outlook::Relay;
  const Reachability a = effective(first);
  const Reachability b = effective(second);
  // Who can be reached from anywhere at the endpoint a STUN server saw needs no luck.
  if (a.filtering == NatFiltering::EndpointIndependent || b.filtering == NatFiltering::EndpointIndependent)
    return Outlook::Direct;
  if (a.mapping == NatMapping::Unknown || b.mapping == NatMapping::Unknown) return Outlook::Unknown;
  if (is_stable(a) && is_stable(b)) return Outlook::Direct;
  if (is_stable(a) || is_stable(b)) {
    // The other's packets come from a port nobody has seen before: fine where only the address counts.
    const Reachability& stable = is_stable(a) ? a : b;
    return stable.filtering == NatFiltering::AddressDependent ? Outlook::Direct : Outlook::Search;
  }
  const bool both_count = a.ports == NatPorts::Sequential && b.ports == NatPorts::Sequential;
  return both_count ? Outlook::Search : Outlook::Relay;
}

}  // namespace dh::path
