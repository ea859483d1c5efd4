#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "session/session.hh"
#include "sim/internet.hh"

namespace dh::sim {

/// Where a host is in the simulated internet, and what its relays' names would tell it.
struct UdpOptions {
  Internet* internet = nullptr;
  HostId host{};
  std::vector<Endpoint> stun_servers;
  std::uint16_t first_port = 0;            // of the plain IPv4 socket; 0: any
  std::optional<Endpoint> port_mapping{};  // the gateway made one for first_port
};

/// The UDP side of a simulated host: does for a session what io/direct_paths does for a real one, and nothing
/// cleverer. `options.internet` and `session` must outlive it.
class HostUdp {
public:
  using OnDatagram = std::function<void(path::SocketId, const Endpoint& from, Bytes datagram)>;
  /// `on_input`: something was fed into the session; called from the world's events.
  HostUdp(World& world, const UdpOptions& options, session::Session& session, OnDatagram on_datagram,
          std::function<void()> on_input);
  HostUdp(const HostUdp&) = delete;
  HostUdp& operator=(const HostUdp&) = delete;
  ~HostUdp() { stop(); }

  void start();
  /// Closes every socket; nothing arrives afterwards.
  void stop();
  void open(const path::OpenSockets& wanted);
  void close(const path::CloseSockets& unwanted);
  void send(const path::Transmit& to, ByteView datagram);
  /// The system says that addresses or routes are others now.
  void network_changed();
  std::size_t open_sockets() const { return sockets_.size(); }

private:
  void open_one(path::SocketId id, bool v6, std::uint16_t port);
  std::vector<path::LocalAddress> local_addresses() const;
  void soon(std::function<void()> what);

  World& world_;
  UdpOptions options_;
  session::Session& session_;
  OnDatagram on_datagram_;
  std::function<void()> on_input_;
  std::map<path::SocketId, SocketId> sockets_;
  std::shared_ptr<bool> alive_;  // false once this is gone: for what the world still has to do
};

}  // namespace dh::sim
