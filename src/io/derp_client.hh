#pragma once

#include <functional>
#include <memory>
#include <string>

#include "derp/client_core.hh"
#include "io/dial.hh"
#include "session/token.hh"

namespace dh::io {

/// What a relay connection tells its owner. Called on the client's executor.
class DerpClientHandler {
public:
  virtual ~DerpClientHandler() = default;
  virtual void on_relay_up(const PublicKey& server_key) = 0;
  virtual void on_relay_down(const std::string& why) = 0;  // reconnecting goes on by itself
  virtual void on_packet(const PublicKey& from,
                         ByteSpan bytes) = 0;  // may be changed in place; valid during the call
  virtual void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) = 0;
  virtual void on_health(const std::string& problem) = 0;
  virtual void on_writable() = 0;  // queued output fell below the low mark
};

struct DerpClientOptions {
  KeyPair key;
  DialOptions dial;
  std::string app_name = "derphole";
  bool force_websocket = false;
  std::size_t high_mark = 256u << 10;  // bytes queued towards the relay before writable() says no
};

/// Keeps one login to one relay alive: dial, upgrade (fast start, 101, or WebSocket), pings, reconnect with
/// jittered backoff min(n^2 x 10 ms, 5 s) x [0.5, 1.5). A resource; one executor, no threads of its own.
class DerpClient {
public:
  DerpClient(asio::any_io_executor executor, session::RelayRef relay, DerpClientOptions options, Rng& rng,
             DerpClientHandler& handler);
  ~DerpClient();

  void start();
  void stop();  // closes; no handler call afterwards
  bool is_up() const;
  bool writable() const;  // up, and less than high_mark queued
  /// Queues one packet; false: not up or too long. Ignores the high mark: the caller asks writable() first.
  bool send(const PublicKey& to, ByteView packet);
  void reconnect_now();  // e.g. after a network change
  bool flushed() const;  // everything queued has been handed to the kernel

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its own coroutines, which outlive a stop() by one turn
};

}  // namespace dh::io
