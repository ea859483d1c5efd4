#include "derp/derp_map.hh"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <boost/json.hpp>

#include "base/printable.hh"
#include "base/web_url.hh"

namespace dh::derp {
namespace {

namespace json = boost::json;

constexpr RegionId kMaxRegionId = (RegionId{1} << 53) - 1;  // what JSON numbers carry exactly
constexpr std::string_view kPinPrefix = "sha256-raw:";

using Problem = std::unexpected<std::string>;

Problem problem(std::string text) {
  return Problem("the DERP map is not usable: " + std::move(text));
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Each reads one field; false means the type is wrong. null never gets here: it counts as absent.
bool read(const json::value& value, bool& out) {
  if (!value.is_bool()) return false;
  out = value.get_bool();
  return true;
}

bool read(const json::value& value, std::string& out) {
  if (!value.is_string()) return false;
  out.assign(value.get_string().data(), value.get_string().size());
  return true;
}

bool read(const json::value& value, std::int64_t& out) {
  if (!value.is_int64()) return false;  // a uint64 here is above 2^63: no field of ours reaches that
  out = value.get_int64();
  return true;
}

bool read(const json::value& value, double& out) {
  if (value.is_double()) {
    out = value.get_double();
  } else if (value.is_int64()) {
    out = static_cast<double>(value.get_int64());
  } else if (value.is_uint64()) {
    out = static_cast<double>(value.get_uint64());
  } else {
    return false;
  }
  return std::isfinite(out);
}

bool read(const json::value& value, std::optional<double>& out) {
  double number = 0;
  if (!read(value, number)) return false;
  out = number;
  return true;
}

std::string quoted(std::string_view text) {
  return "\"" + printable(text, 60) + "\"";
}

Problem wrong_type(const std::string& place, std::string_view field) {
  return problem(quoted(field) + " in " + place + " has the wrong type");
}

std::optional<RegionId> parse_region_id(std::string_view text) {
  RegionId id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (id == 0 || id > kMaxRegionId) return std::nullopt;
  return id;
}

NodeAddress parse_address(const std::string& text, bool ipv6) {
  if (text.empty()) return {};
  const auto address = IpAddress::parse(text);
  // 0.0.0.0 would dial ourselves, a multicast group nobody: as useless as "none".
  const bool dialable = address && !address->is_unspecified() && !address->is_multicast();
  const bool written_as_ipv6 = text.find(':') != std::string::npos;
  if (!dialable || address->is_v6() != ipv6 || written_as_ipv6 != ipv6)
    return {.kind = NodeAddress::Kind::Off, .address = {}};
  return {.kind = NodeAddress::Kind::Fixed, .address = *address};
}

// The certificate a node promises. False: no certificate can ever satisfy it.
bool parse_cert_name(const std::string& text, DerpNode& node) {
  if (text.empty() || lower(text) == lower(node.host_name)) return true;
  if (!text.starts_with(kPinPrefix)) {
    node.cert_name = text;
    return is_host_name(text);
  }
  const std::string_view hex = std::string_view(text).substr(kPinPrefix.size());
  node.pin = array_from_hex<32>(hex);
  return node.pin && to_hex(*node.pin) == hex;  // others compare the text: upper case never matches
}

struct RawNode {
  std::string cert_name, ipv4, ipv6, stun_test_ip;
  std::int64_t region_id = 0, stun_port = 0, derp_port = 0;
};

// What the raw fields mean; false when nobody could ever dial this node.
bool finish_node(const RawNode& raw, DerpNode& node) {
  if (!is_host_name(node.host_name) || !parse_cert_name(raw.cert_name, node)) return false;
  if (raw.derp_port < 0 || raw.derp_port > 65535) return false;
  if (raw.derp_port != 0) node.derp_port = static_cast<std::uint16_t>(raw.derp_port);
  if (raw.stun_port < 0 || raw.stun_port > 65535) node.stun_port.reset();
  if (raw.stun_port > 0 && node.stun_port) node.stun_port = static_cast<std::uint16_t>(raw.stun_port);
  node.ipv4 = parse_address(raw.ipv4, false);
  node.ipv6 = parse_address(raw.ipv6, true);
  node.stun_test_ip = IpAddress::parse(raw.stun_test_ip);
  return true;
}

std::expected<std::optional<DerpNode>, std::string> parse_node(const json::value& value,
                                                               const std::string& place) {
  if (!value.is_object()) return problem(place + " is not an object");
  DerpNode node;
  RawNode raw;
  for (const auto& [key, field] : value.get_object()) {
    if (field.is_null()) continue;
    const std::string name = lower(key);
    bool ok = true;
    if (name == "name") ok = read(field, node.name);
    if (name == "regionid") ok = read(field, raw.region_id);
    if (name == "hostname") ok = read(field, node.host_name);
    if (name == "certname") ok = read(field, raw.cert_name);
    if (name == "ipv4") ok = read(field, raw.ipv4);
    if (name == "ipv6") ok = read(field, raw.ipv6);
    if (name == "stunport") ok = read(field, raw.stun_port);
    if (name == "stunonly") ok = read(field, node.stun_only);
    if (name == "derpport") ok = read(field, raw.derp_port);
    if (name == "insecurefortests") ok = read(field, node.insecure_for_tests);
    if (name == "stuntestip") ok = read(field, raw.stun_test_ip);
    if (name == "canport80") ok = read(field, node.can_port80);
    if (!ok) return wrong_type(place, key);
  }
  if (!finish_node(raw, node)) return std::nullopt;
  return node;
}

std::optional<std::string> parse_nodes(const json::value& value, const std::string& place, DerpRegion& region,
                                       std::size_t& ignored) {
  if (!value.is_array()) return wrong_type(place, "Nodes").error();
  const json::array& nodes = value.get_array();
  if (nodes.size() > kMaxNodesPerRegion) return problem(place + " has more than 64 nodes").error();
  region.nodes.clear();  // the field may stand twice, in two spellings; the last counts
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].is_null()) continue;
    auto node = parse_node(nodes[i], "node " + std::to_string(i + 1) + " of " + place);
    if (!node) return node.error();
    if (*node) {
      region.nodes.push_back(std::move(**node));
    } else {
      ++ignored;
    }
  }
  return std::nullopt;
}

std::expected<DerpRegion, std::string> parse_region(const json::value& value, RegionId id,
                                                    std::size_t& ignored) {
  const std::string place = "region " + std::to_string(id);
  if (!value.is_object()) return problem(place + " is not an object");
  DerpRegion region;
  std::int64_t own_id = 0;
  for (const auto& [key, field] : value.get_object()) {
    if (field.is_null()) continue;
    const std::string name = lower(key);
    bool ok = true;
    if (name == "regionid") ok = read(field, own_id);
    if (name == "regioncode") ok = read(field, region.code);
    if (name == "regionname") ok = read(field, region.name);
    if (name == "latitude") ok = read(field, region.latitude);
    if (name == "longitude") ok = read(field, region.longitude);
    if (name == "avoid") ok = read(field, region.avoid);
    if (name == "nomeasurenohome") ok = read(field, region.no_measure_no_home);
    if (!ok) return wrong_type(place, key);
    if (name == "nodes") {
      if (auto bad = parse_nodes(field, place, region, ignored)) return std::unexpected(std::move(*bad));
    }
  }
  if (own_id != 0 && own_id != static_cast<std::int64_t>(id))
    return problem(place + " calls itself region " + std::to_string(own_id));
  return region;
}

std::optional<std::string> parse_regions(const json::value& value, DerpMap& map) {
  if (!value.is_object()) return wrong_type("the map", "Regions").error();
  if (value.get_object().size() > kMaxRegions) return problem("it has more than 1024 regions").error();
  map.regions.clear();
  for (const auto& [key, entry] : value.get_object()) {
    const auto id = parse_region_id(key);
    if (!id) return problem("region key " + quoted(key) + " is not a number of 1 to 2^53-1").error();
    if (entry.is_null()) continue;
    auto region = parse_region(entry, *id, map.ignored_nodes);
    if (!region) return region.error();
    map.regions.insert_or_assign(*id, std::move(*region));
  }
  return std::nullopt;
}

std::optional<std::string> parse_scores(const json::value& value, DerpMap& map) {
  if (!value.is_object()) return wrong_type("HomeParams", "RegionScore").error();
  if (value.get_object().size() > kMaxRegions) return problem("it has more than 1024 scores").error();
  map.scores.clear();
  for (const auto& [key, entry] : value.get_object()) {
    if (entry.is_null()) continue;
    const auto id = parse_region_id(key);
    double score = 0;
    if (!id || !read(entry, score)) return wrong_type("RegionScore", key).error();
    if (score > 0) map.scores.insert_or_assign(*id, score);  // others mean 1
  }
  return std::nullopt;
}

std::optional<std::string> parse_home_params(const json::value& value, DerpMap& map) {
  if (!value.is_object()) return wrong_type("the map", "HomeParams").error();
  for (const auto& [key, field] : value.get_object()) {
    if (lower(key) != "regionscore" || field.is_null()) continue;
    if (auto bad = parse_scores(field, map)) return bad;
  }
  return std::nullopt;
}

json::object node_to_json(RegionId region, const DerpNode& node) {
  json::object out{{"Name", node.name}, {"RegionID", region}, {"HostName", node.host_name}};
  if (node.pin) out["CertName"] = std::string(kPinPrefix) + to_hex(*node.pin);
  if (!node.cert_name.empty()) out["CertName"] = node.cert_name;
  const auto put_address = [&](const char* field, const NodeAddress& address) {
    if (address.kind == NodeAddress::Kind::Fixed) out[field] = address.address.to_string();
    if (address.kind == NodeAddress::Kind::Off) out[field] = "none";
  };
  put_address("IPv4", node.ipv4);
  put_address("IPv6", node.ipv6);
  if (!node.stun_port) out["STUNPort"] = -1;
  if (node.stun_port && *node.stun_port != kDefaultStunPort) out["STUNPort"] = *node.stun_port;
  if (node.stun_only) out["STUNOnly"] = true;
  if (node.derp_port != kDefaultDerpPort) out["DERPPort"] = node.derp_port;
  if (node.insecure_for_tests) out["InsecureForTests"] = true;
  if (node.stun_test_ip) out["STUNTestIP"] = node.stun_test_ip->to_string();
  if (node.can_port80) out["CanPort80"] = true;
  return out;
}

json::object region_to_json(RegionId id, const DerpRegion& region) {
  json::object out{{"RegionID", id}, {"RegionCode", region.code}, {"RegionName", region.name}};
  if (region.latitude) out["Latitude"] = *region.latitude;
  if (region.longitude) out["Longitude"] = *region.longitude;
  if (region.avoid) out["Avoid"] = true;
  if (region.no_measure_no_home) out["NoMeasureNoHome"] = true;
  json::array nodes;
  for (const DerpNode& node : region.nodes) nodes.push_back(node_to_json(id, node));
  out["Nodes"] = std::move(nodes);
  return out;
}

}  // namespace

bool DerpRegion::has_relay() const {
  return std::any_of(nodes.begin(), nodes.end(), [](const DerpNode& node) { return node.is_relay(); });
}

double DerpMap::score(RegionId region) const {
  const auto found = scores.find(region);
  return found == scores.end() ? 1.0 : found->second;
}

std::expected<DerpMap, std::string> DerpMap::parse(std::string_view text) {
  if (text.size() > kMaxMapText) return problem("it is larger than 2 MiB");
  json::parse_options options;
  options.max_depth = kMaxMapDepth;
  json::monotonic_resource memory;
  json::error_code error;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), error, &memory, options);
  if (error == json::error::too_deep) return problem("it is nested deeper than 16 levels");
  if (error) return problem("it is not JSON (" + error.message() + ")");
  if (!root.is_object()) return problem("it is JSON, but not an object");

  DerpMap map;
  for (const auto& [key, field] : root.get_object()) {
    if (field.is_null()) continue;
    const std::string name = lower(key);
    std::optional<std::string> bad;
    if (name == "omitdefaultregions" && !read(field, map.omit_default_regions))
      return wrong_type("the map", key);
    if (name == "regions") bad = parse_regions(field, map);
    if (name == "homeparams") bad = parse_home_params(field, map);
    if (bad) return Problem(std::move(*bad));
  }
  return map;
}

std::string DerpMap::to_json() const {
  json::object out;
  if (!scores.empty()) {
    json::object by_region;
    for (const auto& [id, score] : scores) by_region[std::to_string(id)] = score;
    out["HomeParams"] = json::object{{"RegionScore", std::move(by_region)}};
  }
  json::object all;
  for (const auto& [id, region] : regions) all[std::to_string(id)] = region_to_json(id, region);
  out["Regions"] = std::move(all);
  if (omit_default_regions) out["omitDefaultRegions"] = true;
  return json::serialize(out);
}

}  // namespace dh::derp
