#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "derp/client_core.hh"
#include "io/dial.hh"

namespace dh::io {

/// Why a link ended.
struct LinkEnd {
  std::optional<derp::ClientError> error;  // the core's reason; none: the stream failed
  std::string message;                     // a clause for people
};

/// One upgraded stream and the ClientCore that lives on it: reads into the core, writes what it says, keeps
/// its timer. Always in a shared_ptr, which its own coroutines and handlers hold too. One executor.
class RelayLink : public std::enable_shared_from_this<RelayLink> {
public:
  /// Gets every event but ConnectionDead. May call anything here, close() included.
  using OnEvent = std::function<void(derp::ClientEvent&)>;
  using OnDrained = std::function<void()>;  // what is queued fell from above `high_mark` to below half of it

  RelayLink(asio::any_io_executor executor, std::unique_ptr<ByteStream> stream,
            std::unique_ptr<derp::ClientCore> core, std::size_t high_mark);

  /// Runs until the link ends. `begun`: stream bytes already read.
  asio::awaitable<LinkEnd> run(Bytes begun, OnEvent on_event, OnDrained on_drained);
  /// Ends it without a word: no callback runs afterwards. Safe to repeat.
  void close();

  /// Closes only the stream: run() returns with the reason it then sees.
  void interrupt() { stream_->close(); }

  derp::SendResult send(const PublicKey& to, ByteView packet);
  std::size_t queued() const { return core_->output().size() + in_flight_; }
  const derp::ClientCore& core() const { return *core_; }

private:
  static asio::awaitable<void> write_loop(std::shared_ptr<RelayLink> self);
  asio::awaitable<void> write_until_closed();
  void drain_events();
  void arm_timer();
  void kick_writer() { wake_writer_.cancel(); }

  asio::any_io_executor executor_;
  std::unique_ptr<ByteStream> stream_;
  std::unique_ptr<derp::ClientCore> core_;
  std::size_t high_mark_;
  OnEvent on_event_;
  OnDrained on_drained_;
  asio::steady_timer timer_;
  std::optional<Instant> timer_at_;
  asio::steady_timer wake_writer_;
  Bytes batch_;                // being written
  std::size_t in_flight_ = 0;  // bytes of batch_ not yet at the socket
  std::optional<derp::ClientError> dead_;
  bool full_ = false;  // the high mark was reached and on_drained is owed
  bool closed_ = false;
};

}  // namespace dh::io
