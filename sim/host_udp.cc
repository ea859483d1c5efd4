#include "sim/host_udp.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::sim {
namespace {

constexpr unsigned kPrefixV4 = 24, kPrefixV6 = 64;  // of every simulated LAN
constexpr int kUsualTtl = 64;

}  // namespace

HostUdp::HostUdp(World& world, const UdpOptions& options, session::Session& session, OnDatagram on_datagram,
                 std::function<void()> on_input)
    : world_(world),
      options_(options),
      session_(session),
      on_datagram_(std::move(on_datagram)),
      on_input_(std::move(on_input)),
      alive_(std::make_shared<bool>(true)) {
  CHECK(options_.internet != nullptr && session_.paths() != nullptr);
}

void HostUdp::stop() {
  *alive_ = false;
  for (const auto& [id, socket] : sockets_) options_.internet->close_socket(socket);
  sockets_.clear();
}

void HostUdp::start() {
  path::PathFinder& paths = *session_.paths();
  paths.on_local_addresses(local_addresses());
  open_one(path::kSocketV4, false, options_.first_port);
  open_one(path::kSocketV6, true, 0);
  for (const Endpoint& server : options_.stun_servers) paths.add_stun_server(server, world_.now());
  if (options_.port_mapping)
    paths.on_port_mapping(options_.port_mapping->address.is_v6(), options_.port_mapping);
}

void HostUdp::open_one(path::SocketId id, bool v6, std::uint16_t port) {
  const SocketId socket = options_.internet->open_socket(
      options_.host, port, [this, id](SocketId, const Endpoint& from, ByteView datagram) {
        on_datagram_(id, from, to_bytes(datagram));
      });
  sockets_[id] = socket;
  session_.paths()->on_socket_open(id, v6, options_.internet->port_of(socket), world_.now());
}

void HostUdp::open(const path::OpenSockets& wanted) {
  for (std::size_t i = 0; i < wanted.count; ++i)
    open_one(static_cast<path::SocketId>(wanted.first + i), false, 0);
  soon(on_input_);
}

void HostUdp::close(const path::CloseSockets& unwanted) {
  for (std::size_t i = 0; i < unwanted.count; ++i) {
    const auto found = sockets_.find(static_cast<path::SocketId>(unwanted.first + i));
    if (found == sockets_.end()) continue;
    options_.internet->close_socket(found->second);
    sockets_.erase(found);
  }
}

void HostUdp::send(const path::Transmit& to, ByteView datagram) {
  const auto found = sockets_.find(to.socket);
  if (found == sockets_.end()) return;
  if (options_.internet->send(found->second, to.to, datagram, to.ttl == 0 ? kUsualTtl : to.ttl)) return;
  if (options_.internet->source_for(options_.host, to.to.address)) {
    soon([this, socket = to.socket, remote = to.to, size = datagram.size()] {
      session_.paths()->on_too_big(socket, remote, size, world_.now());
      on_input_();
    });
    return;
  }
  soon([this, socket = to.socket, remote = to.to] {
    session_.paths()->on_send_failed(socket, remote, world_.now());
    on_input_();
  });
}

void HostUdp::network_changed() {
  session_.paths()->on_local_addresses(local_addresses());
  session_.paths()->on_network_changed(world_.now());
  soon(on_input_);
}

std::vector<path::LocalAddress> HostUdp::local_addresses() const {
  std::vector<path::LocalAddress> out;
  for (const IpAddress& address : options_.internet->addresses_of(options_.host))
    out.push_back({address, address.is_v4() ? kPrefixV4 : kPrefixV6,
                   options_.internet->mtu_of(options_.host, address)});
  return out;
}

void HostUdp::soon(std::function<void()> what) {
  world_.after(Duration::zero(), [alive = alive_, what = std::move(what)] {
    if (*alive) what();
  });
}

}  // namespace dh::sim
