#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "io/derp_client.hh"
#include "io/direct_paths.hh"
#include "session/tunnel_listener.hh"

namespace dh::io {

struct TunnelTransportOptions {
  std::vector<session::RelayRef> relays;
  KeyPair derp_key;
  DialOptions dial;
  UdpOffload udp_offload;
  std::size_t own_relay = SIZE_MAX;  // index of a relay hosted by this process: dialled over loopback
  Endpoint own_relay_endpoint;
};

/// What both sides of a tunnel need of the world: relay connections, UDP sockets for each peer, one timer,
/// and the turn in which a core is drained. The sides derive from it and bring their core. A resource on one
/// executor; always in a shared_ptr, which its handlers hold.
class TunnelTransport : public std::enable_shared_from_this<TunnelTransport> {
public:
  TunnelTransport(asio::any_io_executor executor, TunnelTransportOptions options, Rng& rng);
  virtual ~TunnelTransport();

  void start();

protected:
  // The core, as the sides have it.
  virtual void relay_up(std::size_t relay) = 0;
  virtual void relay_down(std::size_t relay, const std::string& why) = 0;
  virtual void relay_writable(std::size_t relay, bool writable) = 0;
  virtual void relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet) = 0;
  virtual void peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason) = 0;
  virtual bool wants_relay(std::size_t relay) const = 0;
  virtual void core_timeout(Instant at) = 0;
  virtual std::optional<session::TunnelListener::Transmit> core_transmit(ByteSpan out, Instant at) = 0;
  virtual std::optional<std::size_t> core_more(ByteSpan out, Instant at) = 0;  // after one by UDP
  virtual std::optional<Instant> core_next_timeout() const = 0;
  virtual void core_events(Instant at) = 0;  // until there are none

  /// Something was put into the core: a turn will follow.
  void schedule();
  void open_paths(session::PeerId peer, session::TunnelLink& link);
  /// The link may be destroyed afterwards.
  void close_paths(session::PeerId peer);
  void open_sockets(session::PeerId peer, const path::OpenSockets& wanted);
  void close_sockets(session::PeerId peer, const path::CloseSockets& unwanted);
  /// Everything but what is on its way out of the relays' queues.
  void stop();
  bool is_stopped() const { return stopped_; }
  bool flushed() const;
  asio::any_io_executor executor() const { return executor_; }

private:
  struct Port;
  void turn();
  void start_relays();
  void transmit(Instant at);
  ByteSpan room();
  void arm();
  void watch_sleep();

  asio::any_io_executor executor_;
  TunnelTransportOptions options_;
  Rng& rng_;
  std::array<std::unique_ptr<Port>, session::kMaxRelays> ports_;
  std::map<session::PeerId, std::unique_ptr<DirectPaths>> paths_;
  asio::steady_timer timer_, sleep_timer_;
  std::optional<Instant> armed_for_;
  session::PeerId last_sent_to_ = 0;  // by UDP
  Bytes packet_;
  bool turn_scheduled_ = false, stopped_ = false;
};

}  // namespace dh::io
