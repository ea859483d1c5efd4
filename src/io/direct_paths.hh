#pragma once

#include <functional>
#include <memory>

#include "io/network_monitor.hh"
#include "io/udp_sockets.hh"
#include "session/session.hh"

namespace dh::io {

/// The IO of one session's direct paths: UDP sockets, STUN server names, network changes. Feeds the session's
/// path finder; the caller runs the session's outputs. A resource on one executor.
class DirectPaths {
public:
  /// `on_input`: something was fed into the session; it wants to be drained.
  DirectPaths(asio::any_io_executor executor, session::Session& session,
              const std::vector<session::RelayRef>& relays, std::function<void()> on_input,
              std::function<void()> on_network_change);
  ~DirectPaths();

  void start();
  void send(const path::Transmit& to, ByteView datagram) {
    sockets_.send(to.socket, to.to, datagram, to.ttl);
  }
  void flush() { sockets_.flush(); }
  void open(const path::OpenSockets& wanted);
  void close(const path::CloseSockets& unwanted);
  /// This machine slept: whatever it knew of the network is old.
  void on_resume();
  const UdpCounters& counters() const { return sockets_.counters(); }

private:
  void find_stun_servers();

  asio::any_io_executor executor_;
  session::Session& session_;
  std::vector<session::RelayRef> relays_;
  std::function<void()> on_input_, on_network_change_;
  std::shared_ptr<bool> alive_;  // false once this is gone: for name lookups on their way
  UdpSockets sockets_;
  NetworkMonitor monitor_;
};

}  // namespace dh::io
