#include "session/relay_pick.hh"

#include <gtest/gtest.h>

namespace dh::session {
namespace {

derp::DerpNode node(const std::string& host) {
  derp::DerpNode out;
  out.host_name = host;
  return out;
}

derp::DerpMap sample_map() {
  derp::DerpMap map;
  for (derp::RegionId id = 1; id <= 3; ++id)
    for (const char* letter : {"a", "b"})
      map.regions[id].nodes.push_back(node(std::to_string(id) + letter + ".example"));
  return map;
}

std::vector<std::string> hosts(const std::vector<RelayRef>& relays) {
  std::vector<std::string> out;
  for (const RelayRef& relay : relays) out.push_back(relay.host);
  return out;
}

using Names = std::vector<std::string>;

TEST(RelayPick, RanksRegionsByLatencyThenTheirSecondNodes) {
  const auto ranked = rank_relays(sample_map(), {{1, 30ms, 0}, {2, 10ms, 1}, {3, 20ms, 0}});
  EXPECT_EQ(hosts(ranked),
            (Names{"2b.example", "3a.example", "1a.example", "2a.example", "3b.example", "1b.example"}));
  EXPECT_EQ(ranked[0].region, 2u);
}

TEST(RelayPick, TakesTheSecondNodeWhenThereIsOnlyOneRegion) {
  EXPECT_EQ(hosts(rank_relays(sample_map(), {{2, 10ms, 0}})), (Names{"2a.example", "2b.example"}));
}

TEST(RelayPick, AppliesScoresAndLeavesOutWhatMustNotBeHome) {
  derp::DerpMap map = sample_map();
  map.scores[1] = 0.25;
  map.regions[2].no_measure_no_home = true;
  const auto ranked = rank_relays(map, {{1, 30ms, 0}, {2, 1ms, 0}, {3, 20ms, 0}, {99, 1ms, 0}});
  EXPECT_EQ(hosts(ranked), (Names{"1a.example", "3a.example", "1b.example", "3b.example"}));
}

TEST(RelayPick, SkipsStunOnlyNodesThatAnswered) {
  derp::DerpMap map = sample_map();
  map.regions[1].nodes[0].stun_only = true;
  EXPECT_EQ(hosts(rank_relays(map, {{1, 30ms, 0}})), Names{"1b.example"});
  EXPECT_EQ(hosts(rank_relays(map, {{1, 30ms, 77}})), Names{"1b.example"});
}

TEST(RelayPick, RefCarriesWhatATokenNeeds) {
  derp::DerpNode from = node("h.example");
  from.derp_port = 8443;
  from.pin = ByteArray<32>{std::byte{1}};
  from.stun_port = 3479;
  from.ipv4 = {derp::NodeAddress::Kind::Fixed, *IpAddress::parse("192.0.2.1")};
  from.ipv6 = {derp::NodeAddress::Kind::Fixed, *IpAddress::parse("2001:db8::1")};
  RelayRef want;
  want.region = 900;
  want.host = "h.example";
  want.port = 8443;
  want.pin = from.pin;
  want.stun_port = 3479;
  want.addresses = {from.ipv4.address, from.ipv6.address};
  EXPECT_EQ(relay_ref(900, from), want);
  EXPECT_EQ(relay_ref(derp::RegionId{1} << 40, from)->region, 0u);
}

TEST(RelayPick, LeavesDnsToAnswerWhenOnlyIpv6IsKnown) {
  derp::DerpNode from = node("h.example");
  from.ipv6 = {derp::NodeAddress::Kind::Fixed, *IpAddress::parse("2001:db8::1")};
  EXPECT_TRUE(relay_ref(1, from)->addresses.empty());
  from.ipv4.kind = derp::NodeAddress::Kind::Off;
  EXPECT_EQ(relay_ref(1, from)->addresses.size(), 1u);
}

TEST(RelayPick, RefusesNodesATokenCannotDescribeSafely) {
  derp::DerpNode from = node("h.example");
  from.insecure_for_tests = true;
  EXPECT_FALSE(relay_ref(1, from));
  from = node("h.example");
  from.cert_name = "front.example";
  EXPECT_FALSE(relay_ref(1, from));
  from = node("h.example");
  from.ipv4.kind = from.ipv6.kind = derp::NodeAddress::Kind::Off;
  EXPECT_FALSE(relay_ref(1, from));
}

}  // namespace
}  // namespace dh::session
