#include "sim/internet.hh"

#include <algorithm>
#include <utility>

#include "base/check.hh"

namespace dh::sim {
namespace {

constexpr std::size_t kIpv4Header = 28, kIpv6Header = 48;  // with UDP
constexpr Duration kSameHost = 10us;                       // a packet to oneself
constexpr std::size_t kMaxCounted = 65536;  // destinations kept apart; later ones share one entry
constexpr std::uint16_t kFirstEphemeral = 32768, kLastEphemeral = 60999;

std::size_t size_on_wire(const Endpoint& to, std::size_t datagram) {
  return datagram + (to.address.is_v4() ? kIpv4Header : kIpv6Header);
}

bool has(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

bool has_family(const Interface& interface, const IpAddress& of) {
  return std::any_of(interface.addresses.begin(), interface.addresses.end(),
                     [&](const IpAddress& address) { return address.is_v4() == of.is_v4(); });
}

void count(std::map<Endpoint, Internet::Count>& counts, const Endpoint& to, std::size_t bytes) {
  const bool room = counts.size() < kMaxCounted || counts.contains(to);
  Internet::Count& entry = counts[room ? to : Endpoint{}];
  ++entry.packets;
  entry.bytes += bytes;
}

}  // namespace

BoxId Internet::add_box(const NatOptions& options, const IpAddress& public_address, const Wire& wire,
                        Plug outside) {
  if (outside) box(*outside);
  boxes_.push_back(Box{
      .nat = Nat(options, public_address, world_.rng()), .outside = outside, .wire = wire, .attachment = {}});
  return BoxId(static_cast<std::uint32_t>(boxes_.size() - 1));
}

HostId Internet::add_host(std::vector<Interface> interfaces) {
  for (const Interface& interface : interfaces) {
    if (!interface.plug) continue;
    Nat& nat = box(*interface.plug).nat;
    if (nat.options().translation != NatTranslation::OneToOne || nat.one_to_one_host()) continue;
    for (const IpAddress& address : interface.addresses)
      if (address.is_v4()) nat.set_one_to_one_host(address);
  }
  HostState& added = hosts_.emplace_back();
  added.interfaces.assign(interfaces.begin(), interfaces.end());
  added.attachments.resize(interfaces.size());
  return HostId(static_cast<std::uint32_t>(hosts_.size() - 1));
}

HostId Internet::add_host(const IpAddress& address, Plug plug, const Wire& wire) {
  return add_host({Interface{.addresses = {address}, .plug = plug, .wire = wire}});
}

SocketId Internet::open_socket(HostId host, std::uint16_t port, Receive receive,
                               std::optional<IpAddress> address) {
  state(host);
  const auto taken = [&](std::uint16_t wanted) {
    return std::any_of(sockets_.begin(), sockets_.end(), [&](const auto& entry) {
      const Socket& other = entry.second;
      return other.host == host && other.port == wanted && other.address == address;
    });
  };
  if (port == 0) {
    do
      port = static_cast<std::uint16_t>(kFirstEphemeral +
                                        world_.rng().below(kLastEphemeral - kFirstEphemeral + 1));
    while (taken(port));
  }
  CHECK(!taken(port));
  const SocketId id{next_socket_++};
  sockets_.emplace(id, Socket{host, port, address, std::move(receive)});
  return id;
}

void Internet::close_socket(SocketId socket) {
  sockets_.erase(socket);
}

std::uint16_t Internet::port_of(SocketId socket) const {
  return sockets_.at(socket).port;
}

// The interface a packet leaves by: one whose LAN has the destination, else the first that is up.
std::optional<std::size_t> Internet::route(HostId host, const IpAddress& to) const {
  const HostState& from = state(host);
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < from.interfaces.size(); ++i) {
    const Interface& interface = from.interfaces[i];
    if (!interface.up || !has_family(interface, to)) continue;
    if (interface.plug && child_with(interface.plug, to)) return i;
    if (!first) first = i;
  }
  return first;
}

std::optional<IpAddress> Internet::source_for(HostId host, const IpAddress& to) const {
  const auto index = route(host, to);
  if (!index) return std::nullopt;
  for (const IpAddress& address : state(host).interfaces[*index].addresses)
    if (address.is_v4() == to.is_v4()) return address;
  return std::nullopt;
}

std::vector<IpAddress> Internet::addresses_of(HostId host) const {
  std::vector<IpAddress> all;
  for (const Interface& interface : state(host).interfaces)
    if (interface.up) all.insert(all.end(), interface.addresses.begin(), interface.addresses.end());
  return all;
}

std::size_t Internet::mtu_of(HostId host, const IpAddress& address) const {
  for (const Interface& interface : state(host).interfaces)
    if (has(interface.addresses, address)) return interface.wire.mtu;
  return 0;
}

bool Internet::send(SocketId id, const Endpoint& to, ByteView datagram, int ttl) {
  const auto found = sockets_.find(id);
  CHECK(found != sockets_.end());
  const Socket& socket = found->second;
  if (socket.address && socket.address->is_v4() != to.address.is_v4()) return false;
  const auto index = route(socket.host, to.address);
  if (!index) return false;
  HostState& host = state(socket.host);
  Interface& interface = host.interfaces[*index];
  if (size_on_wire(to, datagram.size()) > interface.wire.mtu) return false;

  const IpAddress source = socket.address ? *socket.address : *source_for(socket.host, to.address);
  Packet packet{{source, socket.port}, to, to_bytes(datagram), ttl};
  count(sent_, to, datagram.size());
  if (has(addresses_of(socket.host), to.address)) {
    const HostId self = socket.host;
    world_.after(kSameHost, [this, self, packet = std::move(packet)] { deliver(self, packet); });
    return true;
  }
  const Plug place = interface.plug;
  travel(interface.wire, host.attachments[*index].up, Way::Up, std::move(packet),
         [this, place](Packet arrived) {
           if (place)
             in_lan(*place, std::move(arrived));
           else
             in_core(std::move(arrived));
         });
  return true;
}

// One direction of one wire: the packet is dropped, or arrives later.
void Internet::travel(const Wire& wire, Lane& lane, Way way, Packet packet,
                      std::function<void(Packet)> arrive) {
  const std::size_t size = size_on_wire(packet.to, packet.bytes.size());
  if (size > wire.mtu) return void(++drops_.mtu);
  if (way == Way::Up ? wire.up_cut : wire.down_cut) return void(++drops_.cut);
  if (wire.loss > 0 && world_.rng().chance(wire.loss)) return void(++drops_.lost);
  Instant departs = world_.now();
  if (wire.bytes_per_second > 0) {
    const Instant idle = std::max(departs, lane.free);
    if (to_seconds(idle - departs) * wire.bytes_per_second > static_cast<double>(wire.queue_bytes))
      return void(++drops_.queue);
    departs = lane.free = idle + from_seconds(static_cast<double>(size) / wire.bytes_per_second);
  }
  Instant arrival = departs + wire.delay;
  if (wire.jitter > Duration::zero())
    arrival += Duration(
        static_cast<Duration::rep>(world_.rng().below(static_cast<std::uint64_t>(wire.jitter.count()))));
  if (!wire.reorders) arrival = std::max(arrival, lane.last_arrival);
  lane.last_arrival = std::max(lane.last_arrival, arrival);
  world_.at(arrival, [packet = std::move(packet), arrive = std::move(arrive)]() mutable {
    arrive(std::move(packet));
  });
}

// A packet from a host or inner box has reached the LAN of a box: to a neighbour, or through the box.
void Internet::in_lan(BoxId id, Packet packet) {
  Box& through = box(id);
  if (const auto neighbour = child_with(id, packet.to.address)) {
    if (through.isolated) return void(++drops_.isolated);
    return descend(*neighbour, std::move(packet));
  }
  if (packet.ttl <= 1) return void(++drops_.ttl);
  --packet.ttl;
  const Nat::Verdict verdict = through.nat.on_inside(packet.from, packet.to, world_.now());
  packet.from = verdict.from;
  packet.to = verdict.to;
  switch (verdict.where) {
    case Nat::Where::Dropped:
      ++drops_.box;
      return;
    case Nat::Where::ToInside:
      return to_child(id, std::move(packet));
    case Nat::Where::ToOutside:
      break;
  }
  const Plug outside = through.outside;
  travel(through.wire, through.attachment.up, Way::Up, std::move(packet), [this, outside](Packet arrived) {
    if (outside)
      in_lan(*outside, std::move(arrived));
    else
      in_core(std::move(arrived));
  });
}

void Internet::in_core(Packet packet) {
  if (packet.ttl <= 1) return void(++drops_.ttl);
  --packet.ttl;
  if (on_core && !on_core(packet.from, packet.to, packet.bytes)) return void(++drops_.cut);
  to_child({}, std::move(packet));
}

void Internet::inject(const Endpoint& from, const Endpoint& to, ByteView datagram) {
  to_child({}, {from, to, to_bytes(datagram), 64});
}

void Internet::to_child(const Plug& place, Packet packet) {
  if (const auto child = child_with(place, packet.to.address))
    descend(*child, std::move(packet));
  else
    count(unowned_, packet.to, packet.bytes.size());
}

void Internet::descend(const Child& child, Packet packet) {
  if (child.is_box) {
    const BoxId id{child.index};
    Box& below = box(id);
    return travel(below.wire, below.attachment.down, Way::Down, std::move(packet),
                  [this, id](Packet arrived) { at_outside_of(id, std::move(arrived)); });
  }
  const HostId id{child.index};
  HostState& host = state(id);
  travel(host.interfaces[child.interface].wire, host.attachments[child.interface].down, Way::Down,
         std::move(packet), [this, id](const Packet& arrived) { deliver(id, arrived); });
}

void Internet::at_outside_of(BoxId id, Packet packet) {
  if (packet.ttl <= 1) return void(++drops_.ttl);
  --packet.ttl;
  const Nat::Verdict verdict = box(id).nat.on_outside(packet.from, packet.to, world_.now());
  if (verdict.where != Nat::Where::ToInside) return void(++drops_.box);
  packet.from = verdict.from;
  packet.to = verdict.to;
  to_child(id, std::move(packet));
}

void Internet::deliver(HostId host, const Packet& packet) {
  if (!has(addresses_of(host), packet.to.address)) return count(unowned_, packet.to, packet.bytes.size());
  std::optional<SocketId> target;
  for (const auto& [id, socket] : sockets_) {
    if (socket.host != host || socket.port != packet.to.port) continue;
    if (socket.address && *socket.address != packet.to.address) continue;
    if (!target || socket.address) target = id;  // the bound one is the closer match
  }
  if (!target) return count(closed_ports_, packet.to, packet.bytes.size());
  ++delivered_;
  const Receive receive = sockets_.at(*target).receive;  // a copy: it may close its socket
  if (receive) receive(*target, packet.from, packet.bytes);
}

// Who is directly below a LAN (or the core) and has the address, or leads to it.
std::optional<Internet::Child> Internet::child_with(const Plug& place, const IpAddress& address) const {
  for (std::uint32_t i = 0; i < hosts_.size(); ++i)
    for (std::uint32_t n = 0; n < hosts_[i].interfaces.size(); ++n) {
      const Interface& interface = hosts_[i].interfaces[n];
      if (interface.up && interface.plug == place && has(interface.addresses, address))
        return Child{false, i, n};
    }
  for (std::uint32_t i = 0; i < boxes_.size(); ++i) {
    if (boxes_[i].outside != place) continue;
    const bool leads =
        address.is_v4() ? boxes_[i].nat.public_address() == address : is_below(BoxId(i), address);
    if (leads) return Child{true, i, 0};
  }
  return std::nullopt;
}

bool Internet::is_below(BoxId id, const IpAddress& address) const {
  return child_with(id, address).has_value();
}

Nat& Internet::nat(BoxId id) {
  return box(id).nat;
}

Wire& Internet::box_wire(BoxId id) {
  return box(id).wire;
}

Interface& Internet::interface(HostId host, std::size_t index) {
  CHECK(index < state(host).interfaces.size());
  return state(host).interfaces[index];
}

Interface& Internet::add_interface(HostId host, Interface interface) {
  state(host).attachments.emplace_back();
  return state(host).interfaces.emplace_back(std::move(interface));
}

void Internet::set_client_isolation(BoxId id, bool isolated) {
  box(id).isolated = isolated;
}

std::uint64_t Internet::packets_sent_to(const IpAddress& address) const {
  std::uint64_t packets = 0;
  for (const auto& [to, counted] : sent_)
    if (to.address == address) packets += counted.packets;
  return packets;
}

Internet::HostState& Internet::state(HostId id) {
  CHECK(static_cast<std::size_t>(id) < hosts_.size());
  return hosts_[static_cast<std::size_t>(id)];
}

const Internet::HostState& Internet::state(HostId id) const {
  CHECK(static_cast<std::size_t>(id) < hosts_.size());
  return hosts_[static_cast<std::size_t>(id)];
}

Internet::Box& Internet::box(BoxId id) {
  CHECK(static_cast<std::size_t>(id) < boxes_.size());
  return boxes_[static_cast<std::size_t>(id)];
}

}  // namespace dh::sim
