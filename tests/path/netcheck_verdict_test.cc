#include <gtest/gtest.h>

#include "path/netcheck_report.hh"

namespace dh::path {
namespace {

using M = NatMapping;
using F = NatFiltering;
using K = VerdictKind;

const Endpoint kOuter{IpAddress::v4(5, 5, 5, 21), 41641};

FamilyReport works(M mapping, F filtering, NatPorts ports = NatPorts::Preserved) {
  FamilyReport out;
  out.udp = UdpState::Works;
  out.servers_asked = out.servers_answered = 1;
  out.mapped = {kOuter};
  out.nat = {true, mapping, filtering, ports, 0, false};
  out.other_ports = true;
  return out;
}

FamilyReport silent() {
  FamilyReport out;
  out.udp = UdpState::Silent;
  out.servers_asked = 1;
  return out;
}

RelayReport relay(bool connects) {
  RelayReport out;
  out.name = "fra";
  if (connects)
    out.connect = 60ms;
  else
    out.connect_error = "connection refused";
  return out;
}

PortMappingReport mapped_at(const Endpoint& external) {
  PortMappingReport out;
  out.pcp = true;
  out.external = external;
  return out;
}

NetcheckReport with(FamilyReport v4, std::optional<PortMappingReport> mapping = std::nullopt) {
  NetcheckReport out;
  out.v4 = std::move(v4);
  out.v6.udp = UdpState::Unavailable;
  out.relays = {relay(true)};
  out.port_mapping = mapping;
  return out;
}

bool advises(const Verdict& verdict, std::string_view word) {
  for (const std::string& line : verdict.advice)
    if (line.find(word) != std::string::npos) return true;
  return false;
}

TEST(NetcheckVerdict, IsAFunctionOfWhatWasFound) {
  const M stable = M::EndpointIndependent, symmetric = M::AddressAndPortDependent;
  const F open = F::EndpointIndependent, strict = F::AddressAndPortDependent;
  FamilyReport public_firewalled = works(stable, strict);
  public_firewalled.nat.translated = false;
  FamilyReport stun_only = works(stable, F::Unknown);
  stun_only.other_ports = false;
  NetcheckReport nothing = with(silent());
  nothing.relays = {relay(false)};
  NetcheckReport no_relay = with(works(stable, open));
  no_relay.relays = {relay(false)};
  NetcheckReport v6_only = with(silent());
  v6_only.v6 = public_firewalled;

  struct Row {
    std::string_view name;
    NetcheckReport report;
    K kind;
    bool proven;
    std::string_view says;     // in the sentence
    std::string_view advises;  // in the advice; empty: nothing in particular
  };
  const std::vector<Row> rows = {
      {"nothing answers", nothing, K::NoNetwork, false, "No network", "cable"},
      {"relay only", with(silent()), K::RelayOnly, false, "UDP is blocked", "Open outgoing UDP"},
      {"no relay", no_relay, K::RelayUnreachable, false, "no session can begin", "443"},
      {"STUN port only", with(stun_only), K::Suspicious, false, "no other", "all ports"},
      {"full cone", with(works(stable, open)), K::Open, true, "will work with almost everybody", ""},
      {"address-restricted", with(works(stable, F::AddressDependent)), K::Open, false, "unproven", ""},
      {"port-restricted", with(works(stable, strict), PortMappingReport{}), K::Easy, false, "most peers",
       "Turn on PCP"},
      {"no NAT, firewall", with(public_firewalled), K::Easy, false, "most peers", "its firewall"},
      {"two plain servers", with(works(stable, F::Unknown)), K::Easy, false, "unproven", "--stun"},
      {"one plain server", with(works(M::Unknown, F::Unknown)), K::Unclear, false, "unproven", "--stun"},
      {"symmetric, sequential", with(works(symmetric, strict, NatPorts::Sequential)), K::Hard, false,
       "only with peers behind easy NATs", ""},
      {"symmetric, random", with(works(symmetric, strict, NatPorts::Random)), K::Hard, false,
       "only with peers behind easy NATs", "IPv6"},
      {"symmetric, two plain servers", with(works(M::Dependent, F::Unknown)), K::Hard, false, "easy NATs",
       ""},
      {"symmetric with a port mapping", with(works(symmetric, strict), mapped_at(kOuter)), K::Open, false,
       "unproven", "firewall of its own"},
      {"port mapping of an inner NAT",
       with(works(stable, strict), mapped_at({IpAddress::v4(100, 64, 0, 2), 9})), K::Easy, false,
       "most peers", "Two NATs"},
      {"IPv6 only", v6_only, K::Easy, false, "that have IPv6", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Verdict verdict = judge(row.report);
    EXPECT_EQ(to_string(verdict.kind), to_string(row.kind));
    EXPECT_EQ(verdict.proven, row.proven);
    EXPECT_NE(verdict.sentence.find(row.says), std::string::npos) << verdict.sentence;
    if (!row.advises.empty()) {
      EXPECT_TRUE(advises(verdict, row.advises));
    }
    // Nothing but an unasked-for packet that arrived proves anything.
    EXPECT_EQ(verdict.sentence.find("will work with almost") != std::string::npos, verdict.proven);
  }
}

TEST(NetcheckVerdict, DoubleNatIsAMappingThatEndsElsewhere) {
  const FamilyReport home = works(M::EndpointIndependent, F::AddressAndPortDependent);
  EXPECT_FALSE(has_double_nat(with(home)));
  EXPECT_FALSE(has_double_nat(with(home, PortMappingReport{})));
  EXPECT_FALSE(has_double_nat(with(home, mapped_at(kOuter))));
  EXPECT_TRUE(has_double_nat(with(home, mapped_at({IpAddress::v4(5, 5, 5, 99), 1}))));
  EXPECT_TRUE(has_double_nat(with(home, mapped_at({IpAddress::v4(192, 168, 1, 2), 1}))));
  EXPECT_TRUE(has_double_nat(with(silent(), mapped_at({IpAddress::v4(100, 64, 0, 2), 1}))));
}

TEST(NetcheckVerdict, SaysWhatToExpectOfEachKindOfPeer) {
  const auto letters = [](const NetcheckReport& report) {
    std::string out;
    for (const PeerOutlook& entry : peer_outlooks(report)) out += to_string(entry.outlook)[0];
    return out;
  };
  // open, address-restricted, port-restricted, symmetric, udp-blocked, ipv6
  EXPECT_EQ(letters(with(works(M::EndpointIndependent, F::AddressAndPortDependent))), "dddsrr");
  EXPECT_EQ(letters(with(works(M::AddressAndPortDependent, F::AddressAndPortDependent, NatPorts::Random))),
            "ddsrrr");
  EXPECT_EQ(letters(with(silent())), "rrrrrr");
  EXPECT_EQ(letters(with(works(M::Unknown, F::Unknown))), "duuurr");
  NetcheckReport both = with(works(M::EndpointIndependent, F::EndpointIndependent));
  both.v6 = both.v4;
  both.v6.nat.translated = false;
  EXPECT_EQ(letters(both), "ddddrd");
}

}  // namespace
}  // namespace dh::path
