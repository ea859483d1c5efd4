#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/address.hh"
#include "base/rng.hh"
#include "base/time.hh"

namespace dh::sim {

// Words of RFC 4787. How long does an outside port stay the same for one inside socket?
enum class NatMapping : std::uint8_t {
  EndpointIndependent,      // whatever the destination
  AddressDependent,         // for one destination address
  AddressAndPortDependent,  // for one destination address and port: "symmetric"
};

/// Who may send to an outside port that is in use?
enum class NatFiltering : std::uint8_t {
  EndpointIndependent,      // anybody: "full cone"
  AddressDependent,         // every port of an address that was sent to
  AddressAndPortDependent,  // only an address and port that was sent to
};

/// Which outside port a new mapping gets. One that is taken is never given twice.
enum class NatPorts : std::uint8_t {
  Preserving,    // the inside port; when it is taken, any other
  Sequential,    // first_port, first_port + 1, ... and around
  Random,        // any of first_port .. last_port
  HashOfSource,  // not the inside port, but the same one again after a flush
};

enum class NatTranslation : std::uint8_t {
  Napt,         // many inside hosts share the public address
  OneToOne,     // the public address stands for one inside host, all ports
  UdpDropping,  // no UDP passes, either way
};

/// Everything about a NAT or firewall box that does not change while it runs.
struct NatOptions {
  NatTranslation translation = NatTranslation::Napt;
  NatMapping mapping = NatMapping::EndpointIndependent;
  NatFiltering filtering = NatFiltering::AddressAndPortDependent;
  NatPorts ports = NatPorts::Preserving;
  std::uint16_t first_port = 1024, last_port = 65535;  // what it may assign
  std::uint16_t port_block = 0;  // CGN: each subscriber gets that many of them, in order of appearance; 0: no
  bool hairpin = false;          // inside to inside over the public address, seen from the public address
  Duration unreplied = 30s;      // a flow that went one way lives that long after its last packet ...
  Duration assured = 120s;       // ... and one with packets both ways
  Duration assured_age = 2s;     // ... that has lasted this long
  std::size_t max_flows = 65536;  // 65536: a small router's table; new flows beyond it are dropped
  /// The defect of a gateway that takes unexpected packets for its own: one that comes from outside before
  /// the inside has sent to that peer occupies the port for this peer, and the inside gets another one.
  bool naive = false;
  bool stun_ports_only = false;  // inside may send to ports 53 and 3478 only
  /// IPv6 is never translated. What the box lets in, or no value: everything.
  std::optional<NatFiltering> ipv6_filtering = NatFiltering::AddressAndPortDependent;
};

/// Boxes with a name. The first ten are the rows of the matrix in tests/sim/nat_matrix_test.cc.
enum class NatKind : std::uint8_t {
  OneToOne,             // cloud host with a public address, no firewall
  OneToOneFirewall,     // the same behind a stateful firewall
  FullCone,             // EIM, EIF, hairpins
  AddressRestricted,    // EIM, ADF, hairpins
  PortRestricted,       // EIM, APDF: the usual home router
  AddressDependent,     // ADM, APDF
  SymmetricSequential,  // APDM, APDF, ports one after the other
  SymmetricRandom,      // APDM, APDF
  SymmetricPortMapped,  // as SymmetricRandom; whoever builds it adds a port mapping (add_port_mapping)
  UdpBlocked,
  Naive,         // PortRestricted with the defect described at NatOptions::naive
  CgnPortBlock,  // EIM, APDF, a block of 1024 ports per subscriber, no hairpin
};
NatOptions preset(NatKind kind);
std::string_view to_string(NatKind kind);

/// What a box did, for assertions.
struct NatCounters {
  std::uint64_t to_outside = 0, to_inside = 0;
  std::uint64_t hairpinned = 0;  // also counted in to_inside
  std::uint64_t filtered = 0;    // unexpected from outside
  std::uint64_t poisoned = 0;    // ... that occupied a port (naive)
  std::uint64_t blocked = 0;     // by a block, UdpDropping or stun_ports_only
  std::uint64_t table_full = 0, no_port = 0;
};

/// A NAT or firewall box for UDP, built like connection tracking: flows between an inside socket and a remote
/// one, found from either end, and mappings that live as long as one of their flows does. Packets in,
/// verdicts out; the time is told, the randomness is handed in. What it does not do: ICMP, fragments, TCP.
class Nat {
public:
  /// Which way a block works. Outbound: what the inside sends.
  enum class Direction : std::uint8_t { Both, Outbound, Inbound };

  enum class Where : std::uint8_t { Dropped, ToOutside, ToInside };
  struct Verdict {
    Where where = Where::Dropped;
    Endpoint from, to;  // as the packet leaves the box; unset when dropped
  };

  /// `rng` must outlive the box.
  Nat(const NatOptions& options, const IpAddress& public_address, Rng& rng);

  /// A packet from an inside host; ToInside means it was hairpinned.
  Verdict on_inside(const Endpoint& from, const Endpoint& to, Instant now);
  /// A packet from the outside to the public address, or over IPv6 to an inside host.
  Verdict on_outside(const Endpoint& from, const Endpoint& to, Instant now);

  const IpAddress& public_address() const { return public_address_; }
  const NatOptions& options() const { return options_; }
  const NatCounters& counters() const { return counters_; }
  const std::optional<IpAddress>& one_to_one_host() const { return one_to_one_host_; }
  /// OneToOne: who is inside. Without it, the first inside host that sends.
  void set_one_to_one_host(const IpAddress& inside) { one_to_one_host_ = inside; }

  /// A port mapping as a user, UPnP or PCP makes it: anybody reaches `inside` at the public address and this
  /// port; replaces an older one of the port. Packets of `inside` that answer nobody still get a port of
  /// their own. `firewalled`: the box says yes and forwards nothing.
  struct PortMapping {
    std::uint16_t external_port = 0;
    Endpoint inside;
    bool firewalled = false;
  };
  void add_port_mapping(const PortMapping& mapping);
  /// Flows that are under way survive, as they do on real gateways.
  void remove_port_mapping(std::uint16_t external_port) { port_mappings_.erase(external_port); }

  /// Forgets all flows and mappings. A port-preserving box gives the same ports again: nobody notices.
  void flush();
  /// Forgets them, and from now on assigns random ports: every mapping moves.
  void rebind();
  /// A new lease from the provider: flows through the old address are gone.
  void set_public_address(const IpAddress& address);
  /// Power cycle: flows, port mappings and port counters are gone. Blocks stay.
  void reboot();
  void block_udp(Direction direction = Direction::Both);
  void block_peer(const IpAddress& remote, Direction direction = Direction::Both);
  /// Lifts every block.
  void heal();

  std::size_t flow_count(Instant now);
  /// Where packets of `inside` to `remote` come from outside, while that flow lives.
  std::optional<Endpoint> external_of(const Endpoint& inside, const Endpoint& remote, Instant now);

private:
  using Pair = std::pair<Endpoint, Endpoint>;
  struct Flow {
    Endpoint external, remote;      // its outside half
    std::optional<Pair> mapping{};  // the one it keeps alive; none for what came by a port mapping
    Instant created{}, expires{};
    bool sent = false, received = false;
  };
  struct Mapping {
    Endpoint external;
    std::size_t flows = 0;
  };

  bool is_blocked(const Endpoint& remote, Direction direction) const;
  void expire(Instant now);
  void touch(Flow& flow, Instant now);
  Flow* add_flow(const Endpoint& inside, const Endpoint& remote_inside, const Flow& flow, Instant now);
  Flow* outbound_flow(const Endpoint& inside, const Endpoint& remote, Instant now);
  Flow* unexpected(const Endpoint& from, const Endpoint& to, Instant now, Pair& inside_pair);
  Pair mapping_key(const Endpoint& inside, const Endpoint& remote) const;
  std::optional<std::uint16_t> assign_port(const Endpoint& inside, const Pair& key, const Endpoint& remote);
  bool is_free(const Endpoint& inside, std::uint16_t port, const Endpoint& remote) const;
  bool may_enter(NatFiltering filtering, const Endpoint& from, const Endpoint& external) const;
  bool has_room() const;

  NatOptions options_;
  IpAddress public_address_;
  Rng& rng_;
  NatCounters counters_;
  std::optional<IpAddress> one_to_one_host_;
  std::map<Pair, Flow> flows_;              // by inside socket and remote, as the inside sees them
  std::map<Pair, Pair> by_outside_;         // external and remote, as the outside sees them -> flows_
  std::map<Pair, Mapping> mappings_;        // by inside socket and the part of the remote that counts
  std::map<Endpoint, Endpoint> mapped_to_;  // external of a mapping -> inside socket
  std::map<Pair, Instant> occupied_;        // naive: external and remote -> until when
  std::map<std::uint16_t, PortMapping> port_mappings_;
  std::vector<IpAddress> subscribers_;  // with a port block, in order of appearance
  std::uint16_t next_port_;
  std::optional<Instant> next_expiry_;                                  // no flow expires earlier
  std::vector<std::pair<std::optional<IpAddress>, Direction>> blocks_;  // of one peer or of all
};

}  // namespace dh::sim
