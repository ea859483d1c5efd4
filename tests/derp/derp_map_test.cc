#include "derp/derp_map.hh"

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dh::derp {
namespace {

using testing::HasSubstr;
using Kind = NodeAddress::Kind;

const std::string kPinHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

// A map with one region 1 whose one node has HostName h.example and `fields`.
DerpMap with_node(const std::string& fields) {
  auto map = DerpMap::parse(R"({"Regions":{"1":{"RegionID":1,"Nodes":[{"Name":"1a","HostName":"h.example")" +
                            (fields.empty() ? "" : "," + fields) + "}]}}}");
  EXPECT_TRUE(map.has_value()) << (map ? "" : map.error());
  return map.value_or(DerpMap{});
}

DerpNode node_with(const std::string& fields) {
  const DerpMap map = with_node(fields);
  EXPECT_EQ(map.regions.at(1).nodes.size(), 1u) << fields;
  return map.regions.at(1).nodes.empty() ? DerpNode{} : map.regions.at(1).nodes[0];
}

std::size_t ignored_with(const std::string& fields) {
  return with_node(fields).ignored_nodes;
}

std::string error_of(const std::string& text) {
  auto map = DerpMap::parse(text);
  return map ? "no error" : map.error();
}

TEST(DerpMap, ReadsARealisticMap) {
  std::ifstream file(std::string(DERPHOLE_TEST_VECTORS) + "/derp_map_sample.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto map = DerpMap::parse(text.str());
  ASSERT_TRUE(map.has_value()) << map.error();
  ASSERT_EQ(map->regions.size(), 7u);
  EXPECT_EQ(map->ignored_nodes, 0u);
  const DerpRegion& first = map->regions.at(1);
  EXPECT_EQ(first.code, "r1");
  EXPECT_DOUBLE_EQ(*first.latitude, 40.7128);
  ASSERT_EQ(first.nodes.size(), 3u);
  EXPECT_EQ(first.nodes[0].host_name, "derp1c.example.com");
  EXPECT_EQ(first.nodes[0].ipv4.address.to_string(), "192.0.2.11");
  EXPECT_EQ(first.nodes[0].derp_port, 443);
  EXPECT_EQ(first.nodes[0].stun_port, 3478);
  EXPECT_TRUE(first.nodes[0].can_port80);
  EXPECT_TRUE(map->regions.at(12).avoid);
  EXPECT_FALSE(map->regions.at(12).nodes[1].is_relay());
  EXPECT_EQ(map->regions.at(12).nodes[0].stun_port, 3479);
  EXPECT_TRUE(map->regions.at(301).no_measure_no_home);
  const DerpNode& own = map->regions.at(900).nodes[0];
  EXPECT_EQ(to_hex(*own.pin), kPinHex);
  EXPECT_EQ(own.ipv6.kind, Kind::Off);
  EXPECT_EQ(own.derp_port, 8443);
  EXPECT_FALSE(own.stun_port);
  EXPECT_DOUBLE_EQ(map->score(2), 0.5);
  EXPECT_DOUBLE_EQ(map->score(1), 1.0);
  EXPECT_EQ(DerpMap::parse(map->to_json()), *map);
}

TEST(DerpMap, TakesNamesInAnyCaseAndIgnoresUnknownFields) {
  const auto map = DerpMap::parse(
      R"({"New":{"a":[1]},"OmitDefaultRegions":true,"regions":{"7":{"regionid":7,"REGIONCODE":"x","other":null,
          "nodes":[{"hostname":"a.example","derpport":1,"Future":[]}]}}})");
  ASSERT_TRUE(map.has_value()) << map.error();
  EXPECT_TRUE(map->omit_default_regions);
  EXPECT_EQ(map->regions.at(7).code, "x");
  EXPECT_EQ(map->regions.at(7).nodes[0].derp_port, 1);
  EXPECT_TRUE(DerpMap::parse(R"({"omitDefaultRegions":true})")->omit_default_regions);
}

TEST(DerpMap, TreatsNullAsAbsentEverywhere) {
  const auto map = DerpMap::parse(
      R"({"HomeParams":null,"omitDefaultRegions":null,"Regions":{"1":null,"2":{"RegionID":null,"Nodes":null},
          "3":{"Nodes":[null,{"HostName":"a","IPv4":null,"DERPPort":null,"STUNOnly":null}]}}})");
  ASSERT_TRUE(map.has_value()) << map.error();
  EXPECT_FALSE(map->regions.contains(1));
  EXPECT_TRUE(map->regions.at(2).nodes.empty());
  ASSERT_EQ(map->regions.at(3).nodes.size(), 1u);
  EXPECT_EQ(map->regions.at(3).nodes[0].derp_port, 443);
  EXPECT_TRUE(DerpMap::parse(R"({"Regions":null})")->regions.empty());
  EXPECT_TRUE(DerpMap::parse("{}")->regions.empty());
}

TEST(DerpMap, DefaultsPortsForZeroAndTurnsStunOffForImpossibleOnes) {
  EXPECT_EQ(node_with("").derp_port, 443);
  EXPECT_EQ(node_with(R"("DERPPort":0)").derp_port, 443);
  EXPECT_EQ(node_with(R"("DERPPort":65535)").derp_port, 65535);
  EXPECT_EQ(node_with(R"("STUNPort":0)").stun_port, 3478);
  EXPECT_EQ(node_with(R"("STUNPort":19302)").stun_port, 19302);
  EXPECT_FALSE(node_with(R"("STUNPort":-1)").stun_port);
  EXPECT_FALSE(node_with(R"("STUNPort":65536)").stun_port);
}

TEST(DerpMap, LeavesOutNodesNobodyCanDial) {
  EXPECT_EQ(ignored_with(""), 0u);
  EXPECT_EQ(ignored_with(R"("DERPPort":-1)"), 1u);
  EXPECT_EQ(ignored_with(R"("DERPPort":65536)"), 1u);
  EXPECT_EQ(ignored_with(R"("HostName":"")"), 1u);
  EXPECT_EQ(ignored_with(R"("HostName":"a b")"), 1u);
  EXPECT_EQ(ignored_with(R"("HostName":"a\r\nX: y")"), 1u);
  EXPECT_EQ(ignored_with(R"("HostName":"a..b")"), 1u);
}

TEST(DerpMap, AddressesAreFixedResolvedOrOff) {
  EXPECT_EQ(node_with("").ipv4.kind, Kind::Resolve);
  EXPECT_EQ(node_with(R"("IPv4":"")").ipv4.kind, Kind::Resolve);
  EXPECT_EQ(node_with(R"("IPv4":"192.0.2.7")").ipv4.address.to_string(), "192.0.2.7");
  EXPECT_EQ(node_with(R"("IPv4":"192.0.2.7")").ipv6.kind, Kind::Resolve);
  EXPECT_EQ(node_with(R"("IPv6":"2001:db8::1")").ipv6.kind, Kind::Fixed);
  for (const char* off : {"none", "2001:db8::1", "::ffff:192.0.2.7", "0.0.0.0", "224.0.0.1", "192.0.2.7:443"})
    EXPECT_EQ(node_with(R"("IPv4":")" + std::string(off) + "\"").ipv4.kind, Kind::Off) << off;
  for (const char* off : {"none", "192.0.2.7", "::ffff:192.0.2.7", "::", "ff02::1"})
    EXPECT_EQ(node_with(R"("IPv6":")" + std::string(off) + "\"").ipv6.kind, Kind::Off) << off;
}

TEST(DerpMap, CertNameIsAnotherNameOrAPin) {
  EXPECT_EQ(node_with(R"("CertName":"front.example")").cert_name, "front.example");
  EXPECT_EQ(node_with(R"("CertName":"H.example")").cert_name, "") << "the host's own name changes nothing";
  EXPECT_EQ(to_hex(*node_with(R"("CertName":"sha256-raw:)" + kPinHex + "\"").pin), kPinHex);
  std::string upper = kPinHex;
  upper[21] = 'A';
  EXPECT_EQ(ignored_with(R"("CertName":"sha256-raw:)" + upper + "\""), 1u) << "never matches the digest text";
  EXPECT_EQ(ignored_with(R"("CertName":"sha256-raw:00")"), 1u);
  EXPECT_EQ(ignored_with(R"("CertName":"bad name")"), 1u);
}

TEST(DerpMap, ReadsTestFields) {
  EXPECT_TRUE(node_with(R"("InsecureForTests":true)").insecure_for_tests);
  EXPECT_EQ(node_with(R"("STUNTestIP":"127.0.0.1")").stun_test_ip->to_string(), "127.0.0.1");
  EXPECT_FALSE(node_with(R"("STUNTestIP":"x")").stun_test_ip);
}

TEST(DerpMap, KeepsOnlyPositiveScores) {
  const auto map = DerpMap::parse(R"({"HomeParams":{"RegionScore":{"1":0.5,"2":0,"3":-1,"4":null,"5":2}}})");
  ASSERT_TRUE(map.has_value()) << map.error();
  EXPECT_EQ(map->scores, (std::map<RegionId, double>{{1, 0.5}, {5, 2.0}}));
}

TEST(DerpMap, RefusesWhatIsNotAMapWithASentence) {
  EXPECT_THAT(error_of(""), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of("<html>"), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of("{} x"), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("not an object"));
  EXPECT_EQ(error_of(R"({"Regions":[]})"),
            R"(the DERP map is not usable: "Regions" in the map has the wrong type)");
  EXPECT_EQ(error_of(R"({"Regions":{"1":{"Nodes":[{"HostName":"a"},{"DERPPort":"x"}]}}})"),
            R"(the DERP map is not usable: "DERPPort" in node 2 of region 1 has the wrong type)");
  EXPECT_THAT(error_of(R"({"Regions":{"1":{"Nodes":[{"DERPPort":1.5}]}}})"), HasSubstr("wrong type"));
  EXPECT_THAT(error_of(R"({"Regions":{"1":{"RegionID":2}}})"), HasSubstr("calls itself region 2"));
  EXPECT_THAT(error_of(R"({"Regions":{"1":{"Latitude":"north"}}})"), HasSubstr("wrong type"));
}

TEST(DerpMap, RegionKeysAreDecimalNumbersInRange) {
  for (const char* bad : {"", "0", "-1", "+1", "x", "1x", "9007199254740992", "99999999999999999999"})
    EXPECT_THAT(error_of(R"({"Regions":{")" + std::string(bad) + R"(":{}}})"), HasSubstr("region key"))
        << bad;
  EXPECT_TRUE(DerpMap::parse(R"({"Regions":{"9007199254740991":{}}})"));
}

TEST(DerpMap, BoundsDepthSizeRegionsAndNodes) {
  const std::string deep = R"({"x":)" + std::string(40, '[') + std::string(40, ']') + "}";
  EXPECT_THAT(error_of(deep), HasSubstr("nested"));
  EXPECT_THAT(error_of(std::string(kMaxMapText + 1, ' ')), HasSubstr("larger than"));
  std::string regions;
  for (std::size_t i = 1; i <= kMaxRegions + 1; ++i)
    regions += (i == 1 ? "\"" : ",\"") + std::to_string(i) + "\":null";
  EXPECT_THAT(error_of(R"({"Regions":{)" + regions + "}}"), HasSubstr("1024 regions"));
  std::string nodes = "null";
  for (std::size_t i = 0; i < kMaxNodesPerRegion; ++i) nodes += ",null";
  EXPECT_THAT(error_of(R"({"Regions":{"1":{"Nodes":[)" + nodes + "]}}}"), HasSubstr("64 nodes"));
}

TEST(DerpMap, ErrorsAreSafeToPrint) {
  EXPECT_EQ(error_of("{\"Regions\":{\"\\u001b[31m\":{}}}").find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace dh::derp
