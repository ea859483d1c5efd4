#pragma once

#include <functional>
#include <memory>

#include <boost/asio.hpp>

#include "base/time.hh"

namespace dh::io {

/// While it lives, calls `close` once at `deadline`, which ends whatever the stream was waiting for.
/// `close` must stay callable as long as this object lives, not longer. A resource; one executor.
class StreamDeadline {
public:
  StreamDeadline(const boost::asio::any_io_executor& executor, Instant deadline, std::function<void()> close);
  ~StreamDeadline();
  StreamDeadline(const StreamDeadline&) = delete;
  StreamDeadline& operator=(const StreamDeadline&) = delete;

  bool expired() const { return state_->expired; }

private:
  // Shared with the timer's handler, which may already be queued when this object goes.
  struct State {
    explicit State(const boost::asio::any_io_executor& executor) : timer(executor) {}
    boost::asio::steady_timer timer;
    std::function<void()> close;
    bool expired = false;
  };
  std::shared_ptr<State> state_;
};

}  // namespace dh::io
