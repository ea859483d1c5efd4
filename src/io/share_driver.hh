#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/tunnel_transport.hh"
#include "tunnel/codes.hh"

namespace dh::io {

/// Where a share's connections go. Fixed when the share starts: no name is looked up again, nothing an opener
/// sends matters.
struct ShareTarget {
  std::vector<Endpoint> endpoints;  // tried in this order
  std::string unix_path;            // instead
  std::string name;                 // for people
};

/// What a running share tells its command. Called on the driver's executor.
class ShareObserver {
public:
  virtual ~ShareObserver() = default;
  virtual void on_relay_trouble(std::size_t relay, const std::string& why) = 0;
  virtual void on_client(session::PeerId peer, const PublicKey& key) = 0;
  virtual void on_client_event(session::PeerId peer, const session::TunnelEvent& event) = 0;
  virtual void on_connection(session::PeerId peer, std::size_t open_connections) = 0;
  /// The target could not be reached, for this one connection.
  virtual void on_target_trouble(session::PeerId peer, tunnel::StreamCode code, const std::string& why) = 0;
  virtual void on_stopped() = 0;  // the last call
};

struct ShareDriverOptions {
  TunnelTransportOptions transport;
  session::TunnelListenerConfig listener;
  ShareTarget target;
};

/// Runs one share until it is stopped. A resource on one executor.
class ShareDriver {
public:
  ShareDriver(asio::any_io_executor executor, ShareDriverOptions options, Rng& rng, ShareObserver& observer);
  ~ShareDriver();
  void start();
  /// Says goodbye to everybody, then on_stopped. Safe to repeat.
  void stop();

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dh::io
