#include "path/nat_behaviour.hh"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace dh::path {
namespace {

using M = NatMapping;
using F = NatFiltering;
using P = NatPorts;

std::vector<MappingSample> mapped_to(std::initializer_list<std::uint16_t> ports) {
  std::vector<MappingSample> out;
  for (const std::uint16_t port : ports) {
    const auto n = static_cast<std::uint8_t>(out.size());
    out.push_back({.socket = 0,
                   .local_port = 1000,
                   .server = {IpAddress::v4(5, 5, 5, n), 3478},
                   .mapped = {IpAddress::v4(9, 9, 9, 9), port},
                   .asked_at = Instant(1ms * n)});
  }
  return out;
}

TEST(NatBehaviour, OneAnswerSaysNothingAboutTheMapping) {
  EXPECT_EQ(deduce_mapping({}), M::Unknown);
  EXPECT_EQ(deduce_mapping(mapped_to({7})), M::Unknown);
  auto same_address = mapped_to({7, 7});
  same_address[1].server = {same_address[0].server.address, 3479};
  EXPECT_EQ(deduce_mapping(same_address), M::Unknown);  // it may still depend on the address
  auto two_sockets = mapped_to({7, 7});
  two_sockets[1].socket = 1;
  EXPECT_EQ(deduce_mapping(two_sockets), M::Unknown);
}

TEST(NatBehaviour, ComparesAddressesAndPortsApart) {
  EXPECT_EQ(deduce_mapping(mapped_to({7, 7})), M::EndpointIndependent);
  EXPECT_EQ(deduce_mapping(mapped_to({7, 8})), M::Dependent);
  auto four = mapped_to({7, 7, 8, 8});
  four[1].server = {four[0].server.address, 3479};
  four[3].server = {four[2].server.address, 3479};
  EXPECT_EQ(deduce_mapping(four), M::AddressDependent);
  four[3].mapped.port = 9;
  EXPECT_EQ(deduce_mapping(four), M::AddressAndPortDependent);
  auto pool = mapped_to({7, 7});
  pool[1].mapped.address = IpAddress::v4(9, 9, 9, 8);  // another outer address counts as well
  EXPECT_EQ(deduce_mapping(pool), M::Dependent);
}

TEST(NatBehaviour, FindsTheStepOfANatThatCounts) {
  const auto ports = [](std::initializer_list<std::uint16_t> list) {
    return deduce_ports(mapped_to(list), M::AddressAndPortDependent);
  };
  EXPECT_EQ(ports({40000, 40001, 40002}), (PortPattern{P::Sequential, 1}));
  EXPECT_EQ(ports({40000, 40002, 40004, 40006}), (PortPattern{P::Sequential, 2}));
  EXPECT_EQ(ports({40006, 40005, 40004}), (PortPattern{P::Sequential, -1}));
  EXPECT_EQ(ports({40000, 40001, 40004, 40005}), (PortPattern{P::Sequential, 1}));  // others use it, too
  EXPECT_EQ(ports({40000, 40001, 40900}), (PortPattern{P::Random, 0}));
  EXPECT_EQ(ports({40000, 40001, 39999}), (PortPattern{P::Random, 0}));
  EXPECT_EQ(ports({40000, 40300, 40600}), (PortPattern{P::Random, 0}));
  EXPECT_EQ(ports({40000, 40001}), PortPattern{});  // two may be chance
  EXPECT_EQ(ports({}), PortPattern{});
  EXPECT_EQ(ports({1000, 1000, 1000}), (PortPattern{P::Preserved, 0}));
  EXPECT_EQ(deduce_ports(mapped_to({7, 7}), M::EndpointIndependent), (PortPattern{P::Stable, 0}));
  EXPECT_EQ(deduce_ports(mapped_to({7}), M::Unknown), PortPattern{});
}

TEST(NatBehaviour, FilteringNeedsBothAnswersUnlessTheFirstCame) {
  EXPECT_EQ(deduce_filtering({}), F::Unknown);
  EXPECT_EQ(deduce_filtering({.other_address_and_port = true, .other_port = {}}), F::EndpointIndependent);
  EXPECT_EQ(deduce_filtering({.other_address_and_port = false, .other_port = {}}), F::Unknown);
  EXPECT_EQ(deduce_filtering({.other_address_and_port = false, .other_port = true}), F::AddressDependent);
  EXPECT_EQ(deduce_filtering({.other_address_and_port = false, .other_port = false}),
            F::AddressAndPortDependent);
  EXPECT_EQ(deduce_filtering({.other_address_and_port = {}, .other_port = false}), F::Unknown);
}

TEST(NatBehaviour, TheTableOfPairs) {
  constexpr M kStable = M::EndpointIndependent;
  constexpr M kSymmetric = M::AddressAndPortDependent;
  constexpr F kStrict = F::AddressAndPortDependent;
  const auto host = [](M mapping, F filtering, P ports) {
    return Reachability{true, false, mapping, filtering, ports};
  };
  Reachability mapped = host(kSymmetric, kStrict, P::Random);
  mapped.port_mapped = true;
  Reachability blocked;
  blocked.udp = false;
  const std::array<Reachability, 10> hosts = {
      host(kStable, F::EndpointIndependent, P::Preserved),
      host(kStable, kStrict, P::Preserved),
      host(kStable, F::EndpointIndependent, P::Stable),
      host(kStable, F::AddressDependent, P::Preserved),
      host(kStable, kStrict, P::Stable),
      host(M::AddressDependent, kStrict, P::Random),
      host(kSymmetric, kStrict, P::Sequential),
      host(kSymmetric, kStrict, P::Random),
      mapped,
      blocked,
  };
  // D: ordinary punching. S: prediction or search. R: relay.
  constexpr std::array<std::string_view, 10> kTable = {
      "DDDDDDDDDR",  // 1:1
      "DDDDDSSSDR",  // 1:1 with a firewall
      "DDDDDDDDDR",  // full cone
      "DDDDDDDDDR",  // address-restricted
      "DDDDDSSSDR",  // port-restricted
      "DSDDSRRRDR",  // address-dependent mapping
      "DSDDSRSRDR",  // symmetric, sequential
      "DSDDSRRRDR",  // symmetric, random
      "DDDDDDDDDR",  // symmetric with a port mapping
      "RRRRRRRRRR",  // UDP blocked
  };
  for (std::size_t a = 0; a < hosts.size(); ++a) {
    for (std::size_t b = 0; b < hosts.size(); ++b) {
      const char letter = to_string(outlook(hosts[a], hosts[b]))[0];
      EXPECT_EQ(static_cast<char>(letter - 'a' + 'A'), kTable[a][b]) << a << " with " << b;
    }
  }
  EXPECT_EQ(outlook({}, hosts[4]), Outlook::Unknown);
  EXPECT_EQ(outlook({}, hosts[0]), Outlook::Direct);
  EXPECT_EQ(outlook({}, hosts[9]), Outlook::Relay);
}

}  // namespace
}  // namespace dh::path
