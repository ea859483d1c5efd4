#pragma once

// Two path finders, the relay's control channel between them and a small network, in virtual time.

#include <algorithm>
#include <functional>
#include <map>
#include <queue>

#include "path/path_finder.hh"
#include "wire/stun.hh"

namespace dh::path::test {

inline Endpoint at(const char* text) {
  return *Endpoint::parse(text);
}

struct World {
  struct Side {
    Side(bool dialer, Instant now, Rng& rng, bool loopback)
        : finder({.dialer = dialer, .loopback_peer = loopback}, now, rng) {}
    PathFinder finder;
    std::map<SocketId, Endpoint> sockets;
    std::optional<Route> route;
    std::vector<std::string> lost;
    std::vector<OpenSockets> opened;
    std::optional<Instant> up_at;
    bool hard = false;  // STUN servers see it at a port that nobody can guess
  };
  struct Event {
    Instant when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& o) const { return when != o.when ? when > o.when : order > o.order; }
  };

  explicit World(std::uint64_t seed = 1, bool loopback = false)
      : rng(seed), a(true, now, rng, loopback), b(false, now, rng, loopback) {}

  static ProbeKeys keys(bool dialer) {
    SeededRng fixed(7);
    ProbeKeys keys;
    Secret<32> to_listener, to_dialer;
    fixed.fill(to_listener.expose_mutable());
    fixed.fill(to_dialer.expose_mutable());
    fixed.fill(keys.dialer.bytes);
    fixed.fill(keys.listener.bytes);
    keys.send = dialer ? to_listener : to_dialer;
    keys.receive = dialer ? to_dialer : to_listener;
    keys.local_index = 1;  // the same on both sides: direction is for the keys to tell
    keys.peer_index = 1;
    return keys;
  }

  void host(Side& side, const char* address, unsigned bits, std::uint16_t port) {
    local[&side].push_back({*IpAddress::parse(address), bits});
    side.finder.on_local_addresses(local[&side]);
    const bool v6 = local[&side].back().address.is_v6();
    const SocketId id = v6 ? kSocketV6 : kSocketV4;
    side.sockets[id] = {local[&side].back().address, port};
    side.finder.on_socket_open(id, v6, port, now);
  }

  void start() {
    a.finder.start(keys(true), now);
    b.finder.start(keys(false), now);
    drain();
  }

  void after(Duration wait, std::function<void()> what) {
    events.push({now + wait, order++, std::move(what)});
  }

  void drain() {
    drain(a, b);
    drain(b, a);
  }
  void drain(Side& from, Side& to) {
    Bytes buffer(kMaxDatagram);
    while (auto event = from.finder.poll_event()) {
      if (const auto* up = std::get_if<RouteUp>(&*event)) {
        from.route = up->route;
        if (!from.up_at) from.up_at = now;
      } else if (const auto* size = std::get_if<RouteSize>(&*event)) {
        from.route->datagram_bytes = size->datagram_bytes;
      } else if (const auto* down = std::get_if<RouteDown>(&*event)) {
        from.route.reset();
        from.lost.push_back(down->why);
      } else if (const auto* open = std::get_if<OpenSockets>(&*event)) {
        from.opened.push_back(*open);
        for (std::size_t i = 0; i < open->count; ++i) {
          const auto id = static_cast<SocketId>(open->first + i);
          from.sockets[id] = {from.sockets[kSocketV4].address,
                              static_cast<std::uint16_t>(50'000 + next_port++)};
          from.finder.on_socket_open(id, false, from.sockets[id].port, now);
        }
      } else if (const auto* close = std::get_if<CloseSockets>(&*event)) {
        from.sockets.erase(close->first);
      }
    }
    while (auto call = from.finder.poll_call(now)) {
      ++calls;
      after(relay_delay, [&to, this, call = *call] {
        to.finder.on_call(call, now);
        drain();
      });
    }
    while (auto sent = from.finder.poll_transmit(buffer, now)) {
      ++datagrams;
      Bytes bytes(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(sent->size));
      if (on_sent) on_sent(from, *sent, bytes);
      if (sent->ttl != 0 || blocked || sent->size > mtu) continue;
      const auto source = from.sockets.at(sent->socket);
      if (std::find(stun_servers.begin(), stun_servers.end(), sent->to) != stun_servers.end()) {
        after(delay, [&, server = sent->to, source, bytes] { answer_stun(from, server, source, bytes); });
        continue;
      }
      after(delay, [&, this, to_endpoint = sent->to, source, bytes]() mutable {
        deliver(to_endpoint, source, bytes);
      });
    }
  }
  void add_stun_servers(Side& side) {
    stun_servers = {at("9.9.9.1:3478"), at("9.9.9.2:3478")};
    for (const Endpoint& server : stun_servers) side.finder.add_stun_server(server, now);
  }
  void answer_stun(Side& side, const Endpoint& server, const Endpoint& source, const Bytes& bytes) {
    const auto request = wire::stun::classify(bytes);
    Endpoint seen = source;
    if (side.hard) seen.port = static_cast<std::uint16_t>(20'000 + rng.below(40'000));
    for (const auto& [id, endpoint] : side.sockets) {
      if (endpoint != source) continue;
      side.finder.on_datagram(id, server, wire::stun::make_reply(request.id, seen), now);
      return drain();
    }
  }
  void deliver(const Endpoint& to, const Endpoint& source, Bytes bytes) {
    for (Side* side : {&a, &b})
      for (const auto& [id, endpoint] : side->sockets) {
        if (endpoint != to) continue;
        side->finder.on_datagram(id, source, bytes, now);
        drain();
        return;
      }
  }

  void run_for(Duration time) {
    const Instant end = now + time;
    for (;;) {
      std::optional<Instant> next = earlier(a.finder.next_timeout(), b.finder.next_timeout());
      if (!events.empty()) next = earlier(next, events.top().when);
      if (!next || *next > end) break;
      now = std::max(now, *next);
      while (!events.empty() && events.top().when <= now) {
        auto what = events.top().what;
        events.pop();
        what();
      }
      a.finder.on_timeout(now);
      b.finder.on_timeout(now);
      drain();
      if (++steps > 200'000) throw std::runtime_error("the world spins");
    }
    now = end;
  }

  Instant now = Instant{} + 1000s;
  SeededRng rng;
  std::priority_queue<Event> events;
  std::uint64_t order = 0, datagrams = 0, calls = 0, steps = 0;
  std::uint16_t next_port = 0;
  std::map<Side*, std::vector<LocalAddress>> local;
  Side a, b;
  Duration delay = 20ms, relay_delay = 40ms;
  bool blocked = false;
  std::size_t mtu = SIZE_MAX;  // bytes of a datagram
  std::vector<Endpoint> stun_servers;
  std::function<void(Side&, const Transmit&, const Bytes&)> on_sent;
};

}  // namespace dh::path::test
