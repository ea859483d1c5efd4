#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "sim/nat.hh"
#include "sim/world.hh"

namespace dh::sim {

enum class HostId : std::uint32_t {};
enum class BoxId : std::uint32_t {};
enum class SocketId : std::uint64_t {};

/// The wire between a host or box and what is above it, both ways. May be changed at any time; packets under
/// way keep their arrival.
struct Wire {
  Duration delay{};                       // one way
  Duration jitter{};                      // added, uniform in [0, jitter)
  bool reorders = false;                  // whether jitter may let packets overtake
  double loss = 0;                        // probability, each way
  double bytes_per_second = 0;            // each way; 0: no limit
  std::size_t queue_bytes = 256 << 10;    // waiting for the rate; what does not fit is dropped at the tail
  std::size_t mtu = 1500;                 // IP packet; larger ones vanish, as with a path MTU black hole
  bool up_cut = false, down_cut = false;  // a black hole in one direction; up: away from the host
};

/// Where something is plugged in: the LAN of a box, or (no value) the open internet.
using Plug = std::optional<BoxId>;

/// One network interface. With a public address on the open internet, a private one behind a box; IPv6
/// addresses are global in both places. The first interface that is up and has the family carries the default
/// route.
struct Interface {
  std::vector<IpAddress> addresses;  // the first of a family is the source address
  Plug plug{};
  Wire wire{};
  bool up = true;
};

/// UDP between simulated hosts, through chains of NAT boxes. One round through the code:
///
///   host A --wire-- [box] --wire-- [outer box] --wire-- core --wire-- [box] --wire-- host B
///
/// Every box and the core take one from the TTL, and drop a packet that has one left *before* it leaves a
/// trace in the box: TTL 2 opens the sender's own box and dies in the core. Hosts of one LAN reach each other
/// without their box seeing the packet. Nothing is delivered before World runs its events.
///
/// Misuse by the test (an id that does not exist, a port bound twice) is a CHECK.
class Internet {
public:
  /// `from`: source as it arrived. The callback may send, open and close sockets.
  using Receive = std::function<void(SocketId socket, const Endpoint& from, ByteView datagram)>;

  explicit Internet(World& world) : world_(world) {}
  Internet(const Internet&) = delete;
  Internet& operator=(const Internet&) = delete;

  /// A NAT box whose outside is plugged into the internet or into another box's LAN (then `public_address` is
  /// one of that LAN).
  BoxId add_box(const NatOptions& options, const IpAddress& public_address, const Wire& wire = {},
                Plug outside = {});
  HostId add_host(std::vector<Interface> interfaces);
  HostId add_host(const IpAddress& address, Plug plug = {}, const Wire& wire = {});

  /// Port 0: an ephemeral one. With `address`, only packets to it arrive and it is the source of what is
  /// sent, even after the interface lost it (then nothing ever comes back).
  SocketId open_socket(HostId host, std::uint16_t port, Receive receive,
                       std::optional<IpAddress> address = {});
  void close_socket(SocketId socket);
  std::uint16_t port_of(SocketId socket) const;
  bool is_open(SocketId socket) const { return sockets_.contains(socket); }

  /// False when the host cannot send at all: no interface that is up has the family (ENETUNREACH), or the
  /// packet is larger than that interface's MTU (EMSGSIZE). True says nothing about arrival.
  bool send(SocketId socket, const Endpoint& to, ByteView datagram, int ttl = 64);
  /// The address a packet to `to` would leave with, as connect() and getsockname() tell; nullopt: no route.
  std::optional<IpAddress> source_for(HostId host, const IpAddress& to) const;
  /// All addresses of interfaces that are up.
  std::vector<IpAddress> addresses_of(HostId host) const;
  /// The MTU of the interface with that address; 0: none has it.
  std::size_t mtu_of(HostId host, const IpAddress& address) const;

  Nat& nat(BoxId box);
  Wire& box_wire(BoxId box);
  Interface& interface(HostId host, std::size_t index = 0);  // change addresses, up, plug, wire
  Interface& add_interface(HostId host, Interface interface);
  /// Wi-Fi that keeps its stations apart: hosts of this LAN no longer reach each other directly.
  void set_client_isolation(BoxId box, bool isolated);

  struct Count {
    std::uint64_t packets = 0, bytes = 0;
  };
  /// What was sent to addresses that nobody has: a victim of spoofed candidates would show up here (or in
  /// closed_ports, if the victim was added as a host).
  const std::map<Endpoint, Count>& unowned() const { return unowned_; }
  /// What arrived at hosts on ports without a socket.
  const std::map<Endpoint, Count>& closed_ports() const { return closed_ports_; }
  /// Everything any host sent, by the destination it named.
  const std::map<Endpoint, Count>& sent() const { return sent_; }
  std::uint64_t packets_sent_to(const IpAddress& address) const;
  struct Drops {
    std::uint64_t lost = 0, queue = 0, mtu = 0, cut = 0, ttl = 0, box = 0, isolated = 0;
    bool operator==(const Drops&) const = default;
  };
  const Drops& drops() const { return drops_; }
  /// Somebody in the middle: sees every packet that crosses the core, and may swallow it (false).
  std::function<bool(const Endpoint& from, const Endpoint& to, ByteView datagram)> on_core;
  /// A packet with any sender's address appears in the core. on_core does not see it.
  void inject(const Endpoint& from, const Endpoint& to, ByteView datagram);
  std::uint64_t delivered() const { return delivered_; }

private:
  enum class Way : std::uint8_t { Up, Down };
  // A wire's moving state, one for each direction.
  struct Lane {
    Instant free{}, last_arrival{};
  };
  struct Attachment {
    Lane up, down;
  };
  struct HostState {
    std::deque<Interface> interfaces;
    std::deque<Attachment> attachments;  // one for each interface
  };
  struct Box {
    Nat nat;
    Plug outside;
    Wire wire;
    Attachment attachment;
    bool isolated = false;
  };
  struct Socket {
    HostId host;
    std::uint16_t port = 0;
    std::optional<IpAddress> address;
    Receive receive;
  };
  struct Packet {
    Endpoint from, to;
    Bytes bytes;
    int ttl = 0;
  };
  /// Who is next on the way down from a LAN or the core.
  struct Child {
    bool is_box = false;
    std::uint32_t index = 0, interface = 0;
  };

  HostState& state(HostId id);
  const HostState& state(HostId id) const;
  Box& box(BoxId id);
  std::optional<std::size_t> route(HostId host, const IpAddress& to) const;
  std::optional<Child> child_with(const Plug& place, const IpAddress& address) const;
  bool is_below(BoxId box, const IpAddress& address) const;
  void travel(const Wire& wire, Lane& lane, Way way, Packet packet, std::function<void(Packet)> arrive);
  void in_lan(BoxId box, Packet packet);
  void in_core(Packet packet);
  void to_child(const Plug& place, Packet packet);
  void descend(const Child& child, Packet packet);
  void at_outside_of(BoxId box, Packet packet);
  void deliver(HostId host, const Packet& packet);

  World& world_;
  std::deque<HostState> hosts_;  // references handed out stay valid
  std::deque<Box> boxes_;
  std::map<SocketId, Socket> sockets_;
  std::uint64_t next_socket_ = 1;
  std::map<Endpoint, Count> unowned_, closed_ports_, sent_;
  Drops drops_;
  std::uint64_t delivered_ = 0;
};

}  // namespace dh::sim
