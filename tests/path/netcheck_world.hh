#pragma once

// A network in a few lines for the netcheck: one NAT (or none) in front of two sockets, and a STUN server
// with two addresses and two ports. It uses the wire formats, not the netcheck's own logic.

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/rng.hh"
#include "path/netcheck.hh"
#include "wire/stun.hh"
#include "wire/stun_behaviour.hh"

namespace dh::path::test {

inline Endpoint at(std::string_view text) {
  return Endpoint::parse(text).value();
}

/// How the NAT in the world behaves; the defaults are a home router.
struct ScriptedNat {
  bool present = true;
  bool udp = true;                          // lets UDP out at all
  std::set<std::uint16_t> only_ports = {};  // lets UDP out to these ports alone; empty: to all
  NatMapping mapping = NatMapping::EndpointIndependent;
  NatFiltering filtering = NatFiltering::AddressAndPortDependent;
  NatPorts ports = NatPorts::Preserved;
  bool hairpin = false;
};

class NetcheckWorld {
public:
  explicit NetcheckWorld(ScriptedNat nat) : nat_(std::move(nat)) {}

  static constexpr std::uint16_t kMainPort = 41641, kSecondPort = 41642;
  static constexpr Duration kRoundTrip = 20ms;
  const IpAddress inside = IpAddress::v4(192, 168, 11, 2);
  const IpAddress outside = IpAddress::v4(5, 5, 5, 21);
  const Endpoint server_a = at("5.5.5.10:3478"), server_b = at("5.5.5.11:3479");
  bool serves_behaviour = true;             // the server honours CHANGE-REQUEST and names OTHER-ADDRESS
  std::set<Endpoint> dead;                  // endpoints of the server that do not answer
  std::function<bool(std::uint64_t)> lose;  // given the number of a packet to the server
  std::map<Endpoint, std::uint64_t> sent_to;
  Instant now{1h};
  SeededRng rng{7};

  NetcheckConfig config(std::size_t relays = 1) const {
    NetcheckConfig out;
    out.v4 = {.usable = true, .main_port = kMainPort, .second_port = kSecondPort};
    out.local_addresses = {nat_.present ? inside : outside};
    out.relays = relays;
    return out;
  }

  /// Runs the check to its end and returns when that was.
  Duration run(Netcheck& check) {
    while (!check.is_finished(now)) {
      while (auto out = check.poll_transmit(now)) send(*out);
      std::optional<Instant> next = check.next_timeout();
      if (!in_flight_.empty()) next = earlier(next, in_flight_.begin()->first);
      now = std::max(*next, now);
      while (!in_flight_.empty() && in_flight_.begin()->first <= now) {
        const auto deliver_to = std::move(in_flight_.begin()->second);
        in_flight_.erase(in_flight_.begin());
        deliver_to(check);
      }
      check.on_timeout(now);
    }
    return now - start_;
  }

private:
  using Delivery = std::function<void(Netcheck&)>;

  Endpoint local(NetcheckSocket socket) const {
    return {nat_.present ? inside : outside, socket == NetcheckSocket::Main ? kMainPort : kSecondPort};
  }

  Endpoint map(NetcheckSocket socket, const Endpoint& to) {
    if (!nat_.present) return local(socket);
    Endpoint key;
    if (nat_.mapping == NatMapping::AddressDependent) key.address = to.address;
    if (nat_.mapping == NatMapping::AddressAndPortDependent) key = to;
    std::uint16_t& port = mappings_[{socket, key}];
    if (port == 0 && nat_.ports == NatPorts::Preserved) port = local(socket).port;
    if (port == 0 && nat_.ports == NatPorts::Sequential) port = next_port_++;
    if (port == 0) port = static_cast<std::uint16_t>(20000 + rng.below(40000));
    return {outside, port};
  }

  NetcheckSocket owner(const Endpoint& outer) const {
    for (const auto& [key, port] : mappings_)
      if (port == outer.port) return key.first;
    return outer.port == kMainPort ? NetcheckSocket::Main : NetcheckSocket::Second;
  }

  void send(const Netcheck::Transmit& out) {
    ++sent_to[out.to];
    if (!nat_.udp || (!nat_.only_ports.empty() && !nat_.only_ports.contains(out.to.port))) return;
    const Endpoint source = map(out.socket, out.to);
    contacted_[source].insert(out.to);
    if (out.to.address == outside) {
      if (nat_.hairpin) deliver(out.to, source, out.datagram);
      return;
    }
    const std::uint64_t number = to_server_++;
    if (!lose || !lose(number)) answer(out, source);
  }

  void answer(const Netcheck::Transmit& out, const Endpoint& source) {
    const bool a = out.to.address == server_a.address;
    if ((!a && out.to.address != server_b.address) || dead.contains(out.to)) return;
    const auto known = wire::stun::classify(out.datagram);
    if (known.kind == wire::stun::RequestKind::Tailnode)
      return deliver(source, out.to, wire::stun::make_reply(known.id, source));
    const auto wanted = wire::stun::parse_behaviour_request(out.datagram);
    if (!wanted || !serves_behaviour) return;
    const Endpoint other{a ? server_b.address : server_a.address,
                         out.to.port == server_a.port ? server_b.port : server_a.port};
    const Endpoint from{wanted->change_address ? other.address : out.to.address,
                        wanted->change_port ? other.port : out.to.port};
    if (!dead.contains(from))
      deliver(source, from, wire::stun::make_behaviour_reply(wanted->id, source, from, other));
  }

  bool allows(const Endpoint& outer, const Endpoint& from) const {
    const auto contacts = contacted_.find(outer);
    if (contacts == contacted_.end()) return false;
    return std::ranges::any_of(contacts->second, [&](const Endpoint& peer) {
      if (nat_.filtering == NatFiltering::AddressDependent) return peer.address == from.address;
      return nat_.filtering != NatFiltering::AddressAndPortDependent || peer == from;
    });
  }

  // To an outer endpoint, if its filter lets it in.
  void deliver(const Endpoint& to, const Endpoint& from, Bytes datagram) {
    if (!allows(to, from)) return;
    const NetcheckSocket socket = owner(to);
    in_flight_.emplace(now + kRoundTrip, [this, socket, from, bytes = std::move(datagram)](Netcheck& check) {
      check.on_datagram(socket, from, bytes, now);
    });
  }

  ScriptedNat nat_;
  Instant start_ = now;
  std::uint64_t to_server_ = 0;
  std::uint16_t next_port_ = 40000;
  std::map<std::pair<NetcheckSocket, Endpoint>, std::uint16_t> mappings_;
  std::map<Endpoint, std::set<Endpoint>> contacted_;
  std::multimap<Instant, Delivery> in_flight_;
};

}  // namespace dh::path::test
