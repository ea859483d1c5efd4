#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "io/network_monitor.hh"
#include "io/port_map_client.hh"
#include "io/udp_sockets.hh"
#include "path/path_finder.hh"
#include "session/token.hh"

namespace dh::io {

/// The IO of one session's direct paths: UDP sockets, STUN server names, port mappings, network changes.
/// Feeds the session's path finder; the caller runs the session's outputs. A resource on one executor.
class DirectPaths {
public:
  /// `on_input`: something was fed into `paths` or `on_datagram`; the session wants to be drained.
  DirectPaths(asio::any_io_executor executor, UdpOffload offload, path::PathFinder& paths,
              const std::vector<session::RelayRef>& relays, UdpSockets::OnDatagram on_datagram,
              std::function<void()> on_input, std::function<void()> on_network_change);
  ~DirectPaths();

  void start();
  /// Where the next datagram may be built (UdpSockets::room).
  ByteSpan room() { return sockets_.room(); }
  void send(const path::Transmit& to, ByteView datagram, bulk::Seal seal = {}) {
    sockets_.send(to, datagram, std::move(seal));
  }
  /// Lanes and threads of the stream.
  UdpSockets& sockets() { return sockets_; }
  void flush() { sockets_.flush(); }
  void open(const path::OpenSockets& wanted);
  void close(const path::CloseSockets& unwanted);
  /// This machine slept: whatever it knew of the network is old.
  void on_resume();
  /// Gives back what routers forward to us; `done` is called within PortMapClient::kStopLimit, perhaps at
  /// once. The end, but for flush().
  void stop(std::function<void()> done);
  const UdpCounters& counters() const { return sockets_.counters(); }

private:
  void find_stun_servers();
  void map_port(bool v6, std::uint16_t port);
  void look_again();

  asio::any_io_executor executor_;
  path::PathFinder& paths_;
  std::vector<session::RelayRef> relays_;
  std::function<void()> on_input_, on_network_change_;
  std::shared_ptr<bool> alive_;  // false once this is gone: for name lookups on their way
  UdpSockets sockets_;
  NetworkMonitor monitor_;
  std::vector<std::unique_ptr<PortMapClient>> mappings_;  // one per family
};

}  // namespace dh::io
