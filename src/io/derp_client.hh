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
  /// A login was lost or a try failed (then without on_relay_up before it). Reconnecting goes on by itself.
  virtual void on_relay_down(const std::string& why) = 0;
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
  Duration ping_interval = 5s;         // two unanswered ones end the connection
  bool home = true;                    // tells the relay that this is where we can be reached
};

/// What one client counted since it was made.
struct DerpClientCounters {
  std::uint64_t attempts = 0;     // dials begun
  std::uint64_t logins = 0;       // of them, how many the relay accepted
  std::uint64_t rejections = 0;   // of them, how many it closed where ServerInfo belonged
  std::uint64_t websockets = 0;   // logins over WebSocket
  std::uint64_t fast_starts = 0;  // logins over fast start
};

/// Keeps one login to one relay alive: dial, upgrade (fast start, 101, or WebSocket), pings, reconnect with
/// jittered backoff min(n^2 x 10 ms, 5 s) x [0.5, 1.5). A resource; one executor, no threads of its own.
class DerpClient {
public:
  DerpClient(asio::any_io_executor executor, session::RelayRef relay, DerpClientOptions options, Rng& rng,
             DerpClientHandler& handler);
  ~DerpClient();
  DerpClient(const DerpClient&) = delete;
  DerpClient& operator=(const DerpClient&) = delete;

  void start();
  void stop();  // closes; no handler call afterwards
  bool is_up() const;
  bool writable() const;  // up, and less than high_mark queued
  /// Queues one packet; false: not up, too long, or 16 high marks queued. A packet beyond the rate the relay
  /// announced is dropped and counts as sent. Ignores the high mark: the caller asks writable() first.
  bool send(const PublicKey& to, ByteView packet);
  void reconnect_now();                 // e.g. after a network change
  std::optional<Duration> rtt() const;  // of the last answered ping; none while not up
  const DerpClientCounters& counters() const;
  bool flushed() const;  // everything queued has been handed to the kernel

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its own coroutines, which outlive a stop() by one turn
};

}  // namespace dh::io
