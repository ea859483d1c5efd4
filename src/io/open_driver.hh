#pragma once

#include <memory>
#include <string>

#include "io/tunnel_transport.hh"
#include "session/tunnel_dialer.hh"

namespace dh::io {

/// Where `open` listens.
struct OpenBind {
  Endpoint endpoint;      // port 0: any
  std::string unix_path;  // instead; made with mode 0600, must not exist
};

/// What a running `open` tells its command. Called on the driver's executor.
class OpenObserver {
public:
  virtual ~OpenObserver() = default;
  virtual void on_relay_trouble(std::size_t relay, const std::string& why) = 0;
  /// Connections are taken at this address, `HOST:PORT` or `unix:PATH`, until on_ended.
  virtual void on_listening(const std::string& address) = 0;
  virtual void on_event(const session::TunnelEvent& event) = 0;
  /// The sharing side ended one connection: its code.
  virtual void on_connection_reset(std::uint64_t code) = 0;
  /// A connection was turned away here, with a reason.
  virtual void on_turned_away(const std::string& why) = 0;
  /// The last call. `failed`: the share never said yes.
  virtual void on_ended(const std::optional<session::DialFailed>& failed,
                        const std::optional<session::TunnelEnded>& ended) = 0;
};

struct OpenDriverOptions {
  TunnelTransportOptions transport;
  session::TunnelDialerConfig dialer;
  OpenBind bind;
};

/// Runs one `open` until the share is gone or it is stopped. A resource on one executor.
class OpenDriver {
public:
  /// Binds. Errors: std::system_error when the address cannot be had.
  OpenDriver(asio::any_io_executor executor, OpenDriverOptions options, Rng& rng, OpenObserver& observer);
  ~OpenDriver();
  void start();
  /// Says goodbye, then on_ended. Safe to repeat.
  void stop();

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dh::io
