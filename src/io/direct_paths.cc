#include "io/direct_paths.hh"

#include "io/clock.hh"
#include "io/resolve.hh"

namespace dh::io {
namespace {

constexpr Duration kResolveLimit = 5s;

// Not a member: it outlives the object when DNS does.
asio::awaitable<void> resolve_server(std::string host, std::uint16_t port,
                                     std::function<void(const Endpoint&)> found) {
  const auto addresses = co_await resolve(std::move(host), now() + kResolveLimit);
  if (!addresses) co_return;
  for (const IpAddress& address : *addresses) found({address, port});
}

}  // namespace

DirectPaths::DirectPaths(asio::any_io_executor executor, UdpOffload offload, path::PathFinder& paths,
                         const std::vector<session::RelayRef>& relays, UdpSockets::OnDatagram on_datagram,
                         std::function<void()> on_input, std::function<void()> on_network_change)
    : executor_(std::move(executor)),
      paths_(paths),
      relays_(relays),
      on_input_(std::move(on_input)),
      on_network_change_(std::move(on_network_change)),
      alive_(std::make_shared<bool>(true)),
      sockets_(
          executor_, offload, std::move(on_datagram), [this] { on_input_(); },
          [this](path::SocketId id, const Endpoint& to) {
            paths_.on_send_failed(id, to, now());
            on_input_();
          },
          [this](path::SocketId id, const Endpoint& to, std::size_t size) {
            paths_.on_too_big(id, to, size, now());
            on_input_();
          }),
      monitor_(executor_, [this](const NetworkState& state) {
        paths_.on_local_addresses(state.addresses);
        look_again();
      }) {}

DirectPaths::~DirectPaths() {
  *alive_ = false;
}

void DirectPaths::start() {
  paths_.on_local_addresses(monitor_.state().addresses);
  for (const path::SocketId id : {path::kSocketV4, path::kSocketV6}) {
    const bool v6 = id == path::kSocketV6;
    const auto port = sockets_.open(id, v6);
    if (!port) continue;
    paths_.on_socket_open(id, v6, *port, now());
    map_port(v6, *port);
  }
  find_stun_servers();
  on_input_();
}

void DirectPaths::find_stun_servers() {
  for (const session::RelayRef& relay : relays_) {
    if (!relay.stun_port) continue;
    const std::uint16_t port = *relay.stun_port;
    for (const IpAddress& address : relay.addresses) paths_.add_stun_server({address, port}, now());
    if (!relay.addresses.empty()) continue;
    if (const auto literal = IpAddress::parse(relay.host)) {
      paths_.add_stun_server({*literal, port}, now());
      continue;
    }
    auto found = [this, alive = alive_](const Endpoint& server) {
      if (!*alive) return;
      paths_.add_stun_server(server, now());
      on_input_();
    };
    asio::co_spawn(executor_, resolve_server(relay.host, port, std::move(found)), [](std::exception_ptr) {
      // A name that does not resolve leaves us one server less; the relay's own trouble is told elsewhere.
    });
  }
}

void DirectPaths::open(const path::OpenSockets& wanted) {
  for (std::size_t i = 0; i < wanted.count; ++i) {
    const auto id = static_cast<path::SocketId>(wanted.first + i);
    if (const auto port = sockets_.open(id, false)) {
      paths_.on_socket_open(id, false, *port, now());
    } else {
      paths_.on_socket_failed(id, now());
    }
  }
}

void DirectPaths::close(const path::CloseSockets& unwanted) {
  for (std::size_t i = 0; i < unwanted.count; ++i)
    sockets_.close(static_cast<path::SocketId>(unwanted.first + i));
}

void DirectPaths::map_port(bool v6, std::uint16_t port) {
  if (paths_.loopback_peer()) return;  // who meets on this machine needs no router
  const auto family = v6 ? PortMapClient::Family::V6 : PortMapClient::Family::V4;
  mappings_.push_back(std::make_unique<PortMapClient>(executor_, family, port,
                                                      [this, v6](const std::optional<Endpoint>& external) {
                                                        paths_.on_port_mapping(v6, external);
                                                        on_input_();
                                                      }));
  mappings_.back()->start();
}

void DirectPaths::look_again() {
  paths_.on_network_changed(now());
  for (const auto& mapping : mappings_) mapping->on_network_changed();
  on_network_change_();
  on_input_();
}

void DirectPaths::on_resume() {
  look_again();
}

void DirectPaths::stop(std::function<void()> done) {
  const auto pending = std::make_shared<std::size_t>(1);
  const auto one_less = [pending, done = std::move(done)] {
    if (--*pending == 0) done();
  };
  for (const auto& mapping : mappings_) {
    // A router that never said a word gets its deletion, and nobody waits for an answer.
    const auto presence = mapping->presence();
    const bool worth_waiting = presence && (presence->pcp || presence->nat_pmp || presence->upnp);
    if (worth_waiting) ++*pending;
    mapping->stop(worth_waiting ? std::function<void()>(one_less) : nullptr);
  }
  one_less();
}

}  // namespace dh::io
