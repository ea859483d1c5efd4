#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/derp_client.hh"
#include "io/stream_ends.hh"
#include "io/udp_sockets.hh"
#include "session/session.hh"

namespace dh::io {

/// How a session went.
struct SessionReport {
  session::SessionCounters counters;
  UdpCounters udp;                                   // of the direct paths' sockets
  std::optional<bulk::ControllerReport> congestion;  // of a sender's path in use at the end
  Duration open_for{};
};

/// What a running session tells the command that started it. Called on the driver's executor.
class SessionObserver {
public:
  virtual ~SessionObserver() = default;
  /// Both ends are there. `binding`: from the handshake, the same at both ends and nowhere else. Comes before
  /// the stream's end is made.
  virtual void on_claimed(const ByteArray<32>& binding) = 0;
  virtual void on_relay_path(std::size_t relay, const session::RelayRef& ref) = 0;
  virtual void on_direct_path(const path::Route& route) = 0;
  /// Traffic is on the relay again.
  virtual void on_direct_lost(const std::string& why) = 0;
  virtual void on_relay_trouble(std::size_t relay, const std::string& why) = 0;
  virtual void on_silent(Duration for_how_long) = 0;
  virtual void on_back(Duration silent_for) = 0;
  /// Twice a second while open: bytes the receiver has confirmed, and the size if it is known (else 0).
  virtual void on_progress(std::uint64_t bytes, std::uint64_t total) = 0;
  /// With every progress: for hints about the path.
  virtual void on_path_check(session::Session& session) = 0;
  /// What the peer's command sent by SessionDriver::send_message.
  virtual void on_message(ByteView) {}
  /// The last call.
  virtual void on_ended(const session::SessionEnded& end, const SessionReport& report) = 0;
};

struct SessionDriverOptions {
  session::SessionConfig session;
  DialOptions dial;
  UdpOffload udp_offload;
  // The end of the stream on this side, made when the session is open: a refused session has eaten nothing.
  SourceMaker make_source;           // sending
  SinkMaker make_sink;               // receiving
  std::size_t own_relay = SIZE_MAX;  // index of a relay hosted by this process: dialled over loopback
  Endpoint own_relay_endpoint;
};

/// Runs one session: relays, timer, and the file at our end of the stream. A resource on one executor.
class SessionDriver {
public:
  SessionDriver(asio::any_io_executor executor, SessionDriverOptions options, Rng& rng,
                SessionObserver& observer);
  ~SessionDriver();

  void start();
  /// Ctrl-C: tells the peer, then on_ended. Safe to repeat.
  void cancel(std::string reason);
  /// Ends the session from this side for a reason of its own. Safe to repeat.
  void abort(bulk::AbortCode code, std::string reason);
  /// To the peer's command, in order, reliably, beside the stream: 1..Session::kMaxMessageBytes each. Waits
  /// in a queue until the session is open and has room. Messages sent before the sink is finished arrive
  /// before the sender hears that the stream is complete.
  void send_message(Bytes message);

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its posted handlers
};

}  // namespace dh::io
