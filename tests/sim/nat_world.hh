#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "sim/internet.hh"
#include "sim/stun_server.hh"
#include "wire/stun.hh"

namespace dh::sim {

/// A host with one socket on port 40000 behind one box, as in the usual picture of hole punching.
struct Site {
  BoxId box{};
  HostId host{};
  Endpoint inside;
};

/// A STUN server with two addresses, and as many sites as a test wants.
class NatWorld {
public:
  static constexpr std::uint16_t kPort = 40000, kMappedPort = 41641;

  explicit NatWorld(std::uint64_t seed = 1)
      : world(seed),
        internet(world),
        server(internet, {IpAddress::v4(5, 5, 5, 10), IpAddress::v4(5, 5, 6, 11)}) {}

  /// Site number `n` has 5.5.5.(20+n) outside and 192.168.(10+n).2 inside.
  Site add_site(std::uint8_t n, const NatOptions& options, const Wire& wire = {}) {
    Site site;
    site.box = internet.add_box(options, public_address(n), wire);
    site.inside = {IpAddress::v4(192, 168, static_cast<std::uint8_t>(10 + n), 2), kPort};
    site.host = internet.add_host(site.inside.address, site.box);
    return site;
  }
  Site add_site(std::uint8_t n, NatKind kind, const Wire& wire = {}) {
    const Site site = add_site(n, preset(kind), wire);
    if (kind == NatKind::SymmetricPortMapped) {
      internet.nat(site.box).add_port_mapping({.external_port = kMappedPort, .inside = site.inside});
      port_mapped_[site.host] = {public_address(n), kMappedPort};
    }
    return site;
  }
  static IpAddress public_address(std::uint8_t n) {
    return IpAddress::v4(5, 5, 5, static_cast<std::uint8_t>(20 + n));
  }
  /// Where a port mapping leads to the site's socket, if there is one.
  std::optional<Endpoint> mapped_port_of(const Site& site) const {
    const auto found = port_mapped_.find(site.host);
    if (found == port_mapped_.end()) return std::nullopt;
    return found->second;
  }
  void run(Duration duration) {
    world.run_until([] { return false; }, duration);
  }

  World world;
  Internet internet;
  StunServer server;

private:
  std::map<HostId, Endpoint> port_mapped_;
};

/// A socket that keeps what it received.
class Listener {
public:
  Listener(Internet& internet, HostId host, std::uint16_t port, std::optional<IpAddress> address = {})
      : internet_(internet),
        id(internet.open_socket(
            host, port,
            [this](SocketId, const Endpoint& from, ByteView datagram) {
              arrived.emplace_back(from, std::string(as_text(datagram)));
              if (echoes) internet_.send(id, from, datagram);
            },
            address)) {}
  ~Listener() { internet_.close_socket(id); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  bool send(const Endpoint& to, std::string_view text = "hello", int ttl = 64) {
    return internet_.send(id, to, as_bytes(text), ttl);
  }
  std::size_t count() const { return arrived.size(); }

private:
  Internet& internet_;

public:
  SocketId id;
  bool echoes = false;
  std::vector<std::pair<Endpoint, std::string>> arrived;
};

/// The address a STUN server sees, or nullopt within a second.
inline std::optional<Endpoint> ask_stun(NatWorld& lab, Listener& socket, const Endpoint& server) {
  const std::size_t before = socket.count();
  lab.internet.send(socket.id, server, wire::stun::make_request({}));
  lab.run(1s);
  for (std::size_t i = before; i < socket.count(); ++i) {
    const auto reply = wire::stun::parse_reply(as_bytes(socket.arrived[i].second));
    if (reply && socket.arrived[i].first == server) return reply->mapped;
  }
  return std::nullopt;
}

/// Hole punching as the textbook has it, without prediction or search: the peer's addresses are probed every
/// `interval`, every probe is answered to where it came from, and that address is probed from then on.
class TextbookProber {
public:
  TextbookProber(NatWorld& lab, const Site& site, Duration interval = 120ms)
      : lab_(lab),
        site_(site),
        interval_(interval),
        id_(lab.internet.open_socket(
            site.host, NatWorld::kPort,
            [this](SocketId, const Endpoint& from, ByteView datagram) { receive(from, datagram); })) {}

  void ask_server() { lab_.internet.send(id_, lab_.server.endpoint(), wire::stun::make_request({})); }
  /// What it would tell its peer.
  std::vector<Endpoint> candidates() const {
    std::vector<Endpoint> own;
    if (mapped_) own.push_back(*mapped_);
    if (const auto port_mapped = lab_.mapped_port_of(site_)) own.push_back(*port_mapped);
    return own;
  }
  void start(const std::vector<Endpoint>& candidates, int rounds, Duration after = {}, int opener_ttl = 64) {
    peer_ = candidates;
    started_ = lab_.world.now();
    for (int round = 0; round < rounds; ++round)
      lab_.world.after(after + round * interval_,
                       [this, round, opener_ttl] { probe(round == 0 ? opener_ttl : 64); });
  }
  bool direct() const { return direct_after_.has_value(); }
  /// From start() to the first answer to a probe of ours.
  std::optional<std::chrono::milliseconds> direct_after() const { return direct_after_; }

private:
  void probe(int ttl) {
    for (const Endpoint& to : std::vector(peer_)) lab_.internet.send(id_, to, as_bytes("probe"), ttl);
  }
  void receive(const Endpoint& from, ByteView datagram) {
    if (const auto reply = wire::stun::parse_reply(datagram)) {
      mapped_ = reply->mapped;
    } else if (as_text(datagram) == "probe") {
      lab_.internet.send(id_, from, as_bytes("answer"));
      if (std::find(peer_.begin(), peer_.end(), from) == peer_.end()) peer_.push_back(from);
    } else if (!direct_after_) {
      direct_after_ = std::chrono::duration_cast<std::chrono::milliseconds>(lab_.world.now() - started_);
    }
  }

  NatWorld& lab_;
  Site site_;
  Duration interval_;
  SocketId id_;
  Instant started_{};
  std::optional<Endpoint> mapped_;
  std::vector<Endpoint> peer_;
  std::optional<std::chrono::milliseconds> direct_after_;
};

}  // namespace dh::sim
