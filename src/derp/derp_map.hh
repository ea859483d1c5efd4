#pragma once

// The DERP map: which relays exist, where, and how to reach them. A value parsed from JSON as Tailscale's
// control servers, headscale and derper users write it. Spec: docs/protocol/derp-map.md.

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.hh"

namespace dh::derp {

using RegionId = std::uint64_t;  // 1..2^53-1; 0 never names a region

// Bounds on a map, which is somebody else's text. The public one has about 30 regions and 30 kB.
constexpr std::size_t kMaxMapText = 2u << 20;
constexpr std::size_t kMaxMapDepth = 16;
constexpr std::size_t kMaxRegions = 1024;
constexpr std::size_t kMaxNodesPerRegion = 64;
constexpr std::uint16_t kDefaultDerpPort = 443;
constexpr std::uint16_t kDefaultStunPort = 3478;

/// How a node is reached in one address family.
struct NodeAddress {
  enum class Kind : std::uint8_t {
    Resolve,  // the map says nothing: ask DNS for the host name
    Fixed,    // dial this address, no DNS
    Off,      // "none", or anything that is not an address of the family
  };
  Kind kind = Kind::Resolve;
  IpAddress address;  // only for Fixed
  bool operator==(const NodeAddress&) const = default;
};

/// One relay. A parsed node always has a valid host name and a port that exists.
struct DerpNode {
  std::string name;                  // unique over the map, such as "1f"; not a host name
  std::string host_name;             // DNS name or IP literal
  std::string cert_name;             // the certificate is for this name instead; empty: for host_name
  std::optional<ByteArray<32>> pin;  // CertName "sha256-raw:HEX"
  NodeAddress ipv4;
  NodeAddress ipv6;
  std::uint16_t derp_port = kDefaultDerpPort;
  std::optional<std::uint16_t> stun_port = kDefaultStunPort;  // empty: no STUN here
  std::optional<IpAddress> stun_test_ip;                      // STUN goes here instead (tests)
  bool stun_only = false;                                     // not a relay
  bool insecure_for_tests = false;                            // its certificate is not verified
  bool can_port80 = false;

  bool is_relay() const { return !stun_only; }
  bool operator==(const DerpNode&) const = default;
};

struct DerpRegion {
  std::string code;  // "fra"; as the map has it: pass through printable() before showing
  std::string name;
  std::optional<double> latitude;
  std::optional<double> longitude;
  bool avoid = false;
  bool no_measure_no_home = false;  // never measured, never chosen; may be dialed to reach a peer there
  std::vector<DerpNode> nodes;      // priority order

  bool has_relay() const;
  bool operator==(const DerpRegion&) const = default;
};

struct DerpMap {
  std::map<RegionId, DerpRegion> regions;
  std::map<RegionId, double> scores;  // only > 0; multiplies latency, missing means 1
  bool omit_default_regions = false;
  std::size_t ignored_nodes = 0;  // nodes nobody could dial: no valid HostName, or an impossible port

  double score(RegionId region) const;
  bool operator==(const DerpMap&) const = default;

  /// Lenient where Go's decoder is: unknown fields ignored, names in any case, null as if absent.
  /// Errors:    a sentence that names the place: not JSON, a field of the wrong type, too large, a region
  ///            that contradicts its own key.
  static std::expected<DerpMap, std::string> parse(std::string_view json);
  /// Compact JSON with Tailscale's field names; parse() of it gives an equal map (but ignored_nodes 0).
  std::string to_json() const;
};

}  // namespace dh::derp
