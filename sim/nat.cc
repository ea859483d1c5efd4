#include "sim/nat.hh"

#include <algorithm>

namespace dh::sim {
namespace {

constexpr std::uint16_t kStunPort = 3478, kDnsPort = 53;
constexpr int kRandomTries = 64;  // then the range is walked from a random place

std::uint64_t mix(std::uint64_t hash, const Endpoint& endpoint) {
  const auto add = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };  // FNV-1a
  for (const std::byte b : endpoint.address.mapped()) add(std::to_integer<std::uint64_t>(b));
  add(endpoint.port & 0xff);
  add(endpoint.port >> 8);
  return hash;
}

}  // namespace

Nat::Nat(const NatOptions& options, const IpAddress& public_address, Rng& rng)
    : options_(options), public_address_(public_address), rng_(rng), next_port_(options.first_port) {}

Nat::Verdict Nat::on_inside(const Endpoint& from, const Endpoint& to, Instant now) {
  expire(now);
  const bool wrong_port = options_.stun_ports_only && to.port != kStunPort && to.port != kDnsPort;
  if (options_.translation == NatTranslation::UdpDropping || wrong_port ||
      is_blocked(to, Direction::Outbound)) {
    ++counters_.blocked;
    return {};
  }
  Flow* flow = outbound_flow(from, to, now);
  if (flow == nullptr) return {};
  flow->sent = true;
  touch(*flow, now);
  const Endpoint external = flow->external, remote = flow->remote;
  if (remote.address != public_address_) {
    ++counters_.to_outside;
    return {Where::ToOutside, external, remote};
  }
  if (!options_.hairpin) {
    ++counters_.filtered;
    return {};
  }
  const Verdict back = on_outside(external, remote, now);
  if (back.where == Where::ToInside) ++counters_.hairpinned;
  return back;
}

Nat::Verdict Nat::on_outside(const Endpoint& from, const Endpoint& to, Instant now) {
  expire(now);
  if (options_.translation == NatTranslation::UdpDropping || is_blocked(from, Direction::Inbound)) {
    ++counters_.blocked;
    return {};
  }
  Pair inside;
  Flow* flow = nullptr;
  if (const auto known = by_outside_.find({to, from}); known != by_outside_.end()) {
    inside = known->second;
    flow = &flows_.at(inside);
  } else {
    flow = unexpected(from, to, now, inside);
  }
  if (flow == nullptr) return {};
  flow->received = true;
  touch(*flow, now);
  ++counters_.to_inside;
  return {Where::ToInside, inside.second, inside.first};
}

// The flow an inside packet belongs to, opened when there is none; nullptr (counted) when it may not be.
Nat::Flow* Nat::outbound_flow(const Endpoint& inside, const Endpoint& remote, Instant now) {
  if (const auto known = flows_.find({inside, remote}); known != flows_.end()) return &known->second;
  if (inside.address.is_v6()) return add_flow(inside, remote, {.external = inside, .remote = remote}, now);
  if (options_.translation == NatTranslation::OneToOne) {
    if (!one_to_one_host_) one_to_one_host_ = inside.address;
    if (inside.address != *one_to_one_host_) {
      ++counters_.no_port;
      return nullptr;
    }
    return add_flow(inside, remote, {.external = {public_address_, inside.port}, .remote = remote}, now);
  }

  const Pair key = mapping_key(inside, remote);
  if (const auto mapping = mappings_.find(key); mapping != mappings_.end()) {
    const Endpoint external = mapping->second.external;
    const bool taken = occupied_.contains({external, remote}) || by_outside_.contains({external, remote});
    if (!taken)
      return add_flow(inside, remote, {.external = external, .remote = remote, .mapping = key}, now);
  }
  const auto port = assign_port(inside, key, remote);
  if (!port) {
    ++counters_.no_port;
    return nullptr;
  }
  // Where the mapping could not be used for this remote, the new port is this flow's alone.
  const Endpoint external{public_address_, *port};
  const bool alone = mappings_.contains(key);
  Flow flow{.external = external, .remote = remote};
  if (!alone) flow.mapping = key;
  Flow* added = add_flow(inside, remote, flow, now);
  if (added == nullptr) return nullptr;
  if (!alone) {
    mappings_[key].external = external;
    mapped_to_.insert_or_assign(external, inside);
  }
  return added;
}

// A packet from outside that belongs to no flow: opens one where port mappings or the filter let it in.
Nat::Flow* Nat::unexpected(const Endpoint& from, const Endpoint& to, Instant now, Pair& inside_pair) {
  std::optional<Endpoint> inside;
  std::optional<Pair> mapping;
  if (to.address.is_v6()) {
    if (!options_.ipv6_filtering || may_enter(*options_.ipv6_filtering, from, to)) inside = to;
  } else if (options_.translation == NatTranslation::OneToOne) {
    const bool open = options_.filtering == NatFiltering::EndpointIndependent;
    if (one_to_one_host_ && (open || may_enter(options_.filtering, from, to)))
      inside = Endpoint{*one_to_one_host_, to.port};
  } else if (const auto mapped = port_mappings_.find(to.port); mapped != port_mappings_.end()) {
    if (!mapped->second.firewalled) inside = mapped->second.inside;
  } else if (const auto owner = mapped_to_.find(to); owner != mapped_to_.end()) {
    if (may_enter(options_.filtering, from, to)) {
      inside = owner->second;
      mapping = mapping_key(*inside, from);
      // Only this port's own mapping may answer; a symmetric box has another one, or none, for `from`.
      const auto found = mappings_.find(*mapping);
      if (found == mappings_.end() || found->second.external != to) mapping.reset();
    }
  }
  if (!inside) {
    ++counters_.filtered;
    if (options_.naive && to.address == public_address_ && has_room()) {
      ++counters_.poisoned;
      const Instant until = now + options_.unreplied;
      occupied_.insert_or_assign({to, from}, until);
      next_expiry_ = earlier(next_expiry_, until);
    }
    return nullptr;
  }
  // The inside may already talk to `from` through another port. Both flows must be told apart on the inside,
  // so this one's source gets another port, as connection tracking does it.
  Endpoint seen = from;
  while (flows_.contains({*inside, seen})) seen.port = static_cast<std::uint16_t>(1024 + rng_.below(64512));
  inside_pair = {*inside, seen};
  return add_flow(*inside, seen, {.external = to, .remote = from, .mapping = mapping}, now);
}

bool Nat::may_enter(NatFiltering filtering, const Endpoint& from, const Endpoint& external) const {
  if (filtering == NatFiltering::AddressAndPortDependent) return by_outside_.contains({external, from});
  const Endpoint first = filtering == NatFiltering::AddressDependent
                             ? Endpoint{from.address, 0}
                             : Endpoint{IpAddress::v6(ByteArray<16>{}), 0};
  const auto flow = by_outside_.lower_bound({external, first});
  if (flow == by_outside_.end() || flow->first.first != external) return false;
  return filtering == NatFiltering::EndpointIndependent || flow->first.second.address == from.address;
}

Nat::Flow* Nat::add_flow(const Endpoint& inside, const Endpoint& remote_inside, const Flow& flow,
                         Instant now) {
  if (!has_room()) {
    ++counters_.table_full;
    return nullptr;
  }
  Flow& added = flows_[{inside, remote_inside}] = flow;
  added.created = now;
  by_outside_.insert_or_assign({flow.external, flow.remote}, Pair{inside, remote_inside});
  if (flow.mapping) ++mappings_[*flow.mapping].flows;
  return &added;
}

bool Nat::has_room() const {
  return flows_.size() + occupied_.size() < options_.max_flows;
}

void Nat::touch(Flow& flow, Instant now) {
  const bool assured = flow.sent && flow.received && now - flow.created >= options_.assured_age;
  flow.expires = std::max(flow.expires, now + (assured ? options_.assured : options_.unreplied));
  next_expiry_ = earlier(next_expiry_, flow.expires);
}

void Nat::expire(Instant now) {
  if (!is_due(next_expiry_, now)) return;
  next_expiry_.reset();
  for (auto it = flows_.begin(); it != flows_.end();) {
    Flow& flow = it->second;
    if (flow.expires > now) {
      next_expiry_ = earlier(next_expiry_, flow.expires);
      ++it;
      continue;
    }
    by_outside_.erase({flow.external, flow.remote});
    if (flow.mapping) {
      const auto mapping = mappings_.find(*flow.mapping);
      if (--mapping->second.flows == 0) {
        mapped_to_.erase(mapping->second.external);
        mappings_.erase(mapping);
      }
    }
    it = flows_.erase(it);
  }
  std::erase_if(occupied_, [&](const auto& entry) { return entry.second <= now; });
  for (const auto& [where, until] : occupied_) next_expiry_ = earlier(next_expiry_, until);
}

Nat::Pair Nat::mapping_key(const Endpoint& inside, const Endpoint& remote) const {
  switch (options_.mapping) {
    case NatMapping::EndpointIndependent:
      return {inside, {}};
    case NatMapping::AddressDependent:
      return {inside, {remote.address, 0}};
    case NatMapping::AddressAndPortDependent:
      break;
  }
  return {inside, remote};
}

std::optional<std::uint16_t> Nat::assign_port(const Endpoint& inside, const Pair& key,
                                              const Endpoint& remote) {
  std::uint32_t first = options_.first_port, last = options_.last_port;
  if (options_.port_block != 0) {
    auto subscriber = std::find(subscribers_.begin(), subscribers_.end(), inside.address);
    if (subscriber == subscribers_.end())
      subscriber = subscribers_.insert(subscribers_.end(), inside.address);
    first += static_cast<std::uint32_t>(subscriber - subscribers_.begin()) * options_.port_block;
    if (first > last) return std::nullopt;
    last = std::min(last, first + options_.port_block - 1);
  }
  const std::uint32_t size = last - first + 1;
  const auto at = [&](std::uint64_t offset) { return static_cast<std::uint16_t>(first + offset % size); };
  const auto walk = [&](std::uint64_t start) -> std::optional<std::uint16_t> {
    for (std::uint64_t i = 0; i < size; ++i)
      if (is_free(inside, at(start + i), remote)) return at(start + i);
    return std::nullopt;
  };

  switch (options_.ports) {
    case NatPorts::Preserving:
      if (inside.port >= first && inside.port <= last && is_free(inside, inside.port, remote))
        return inside.port;
      break;
    case NatPorts::Sequential: {
      const auto port = walk(next_port_ - options_.first_port);
      if (port) next_port_ = static_cast<std::uint16_t>(*port + 1);
      return port;
    }
    case NatPorts::Random:
      break;
    case NatPorts::HashOfSource:
      return walk(mix(mix(0xcbf29ce484222325, key.first), key.second));
  }
  for (int i = 0; i < kRandomTries; ++i)
    if (const auto port = at(rng_.below(size)); is_free(inside, port, remote)) return port;
  return walk(rng_.below(size));
}

// A port nobody has. One that a port mapping gives to this very socket counts as its own.
bool Nat::is_free(const Endpoint& inside, std::uint16_t port, const Endpoint& remote) const {
  const Endpoint external{public_address_, port};
  if (occupied_.contains({external, remote})) return false;
  const auto reserved = port_mappings_.find(port);
  if (reserved != port_mappings_.end()) {
    if (reserved->second.inside != inside || mapped_to_.contains(external)) return false;
    return !by_outside_.contains({external, remote});
  }
  const auto used = by_outside_.lower_bound({external, {IpAddress::v6(ByteArray<16>{}), 0}});
  return used == by_outside_.end() || used->first.first != external;
}

bool Nat::is_blocked(const Endpoint& remote, Direction direction) const {
  return std::any_of(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    const auto& [address, blocked] = block;
    return (!address || *address == remote.address) && (blocked == Direction::Both || blocked == direction);
  });
}

void Nat::add_port_mapping(const PortMapping& mapping) {
  port_mappings_.insert_or_assign(mapping.external_port, mapping);
}

void Nat::flush() {
  flows_.clear();
  by_outside_.clear();
  mappings_.clear();
  mapped_to_.clear();
  occupied_.clear();
  next_expiry_.reset();
}

void Nat::rebind() {
  flush();
  options_.ports = NatPorts::Random;
}

void Nat::set_public_address(const IpAddress& address) {
  flush();
  public_address_ = address;
}

void Nat::reboot() {
  flush();
  port_mappings_.clear();
  subscribers_.clear();
  next_port_ = options_.first_port;
}

void Nat::block_udp(Direction direction) {
  blocks_.push_back({std::nullopt, direction});
}

void Nat::block_peer(const IpAddress& remote, Direction direction) {
  blocks_.push_back({remote, direction});
}

void Nat::heal() {
  blocks_.clear();
}

std::size_t Nat::flow_count(Instant now) {
  expire(now);
  return flows_.size();
}

std::optional<Endpoint> Nat::external_of(const Endpoint& inside, const Endpoint& remote, Instant now) {
  expire(now);
  const auto flow = flows_.find({inside, remote});
  if (flow == flows_.end()) return std::nullopt;
  return flow->second.external;
}

NatOptions preset(NatKind kind) {
  NatOptions options;
  switch (kind) {
    case NatKind::OneToOne:
      options.translation = NatTranslation::OneToOne;
      options.filtering = NatFiltering::EndpointIndependent;
      break;
    case NatKind::OneToOneFirewall:
      options.translation = NatTranslation::OneToOne;
      break;
    case NatKind::FullCone:
      options.filtering = NatFiltering::EndpointIndependent;
      options.hairpin = true;
      break;
    case NatKind::AddressRestricted:
      options.filtering = NatFiltering::AddressDependent;
      options.hairpin = true;
      break;
    case NatKind::PortRestricted:
      break;
    case NatKind::AddressDependent:
      options.mapping = NatMapping::AddressDependent;
      options.ports = NatPorts::HashOfSource;
      options.first_port = 40000;
      options.last_port = 59999;
      break;
    case NatKind::SymmetricSequential:
      options.mapping = NatMapping::AddressAndPortDependent;
      options.ports = NatPorts::Sequential;
      options.first_port = 40000;
      options.last_port = 40999;
      break;
    case NatKind::SymmetricRandom:
    case NatKind::SymmetricPortMapped:
      options.mapping = NatMapping::AddressAndPortDependent;
      options.ports = NatPorts::Random;
      break;
    case NatKind::UdpBlocked:
      options.translation = NatTranslation::UdpDropping;
      break;
    case NatKind::Naive:
      options.naive = true;
      break;
    case NatKind::CgnPortBlock:
      options.ports = NatPorts::Random;
      options.first_port = 20000;
      options.port_block = 1024;
      break;
  }
  return options;
}

std::string_view to_string(NatKind kind) {
  switch (kind) {
    case NatKind::OneToOne:
      return "1:1";
    case NatKind::OneToOneFirewall:
      return "1:1+fw";
    case NatKind::FullCone:
      return "full cone";
    case NatKind::AddressRestricted:
      return "address-restricted";
    case NatKind::PortRestricted:
      return "port-restricted";
    case NatKind::AddressDependent:
      return "address-dependent";
    case NatKind::SymmetricSequential:
      return "symmetric, sequential";
    case NatKind::SymmetricRandom:
      return "symmetric, random";
    case NatKind::SymmetricPortMapped:
      return "symmetric, port mapped";
    case NatKind::UdpBlocked:
      return "UDP blocked";
    case NatKind::Naive:
      return "naive";
    case NatKind::CgnPortBlock:
      return "CGN port block";
  }
  return "?";
}

}  // namespace dh::sim
