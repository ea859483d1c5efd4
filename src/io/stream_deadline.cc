#include "io/stream_deadline.hh"

#include <algorithm>

#include "io/clock.hh"

namespace dh::io {

StreamDeadline::StreamDeadline(const boost::asio::any_io_executor& executor, Instant deadline,
                               std::function<void()> close)
    : state_(std::make_shared<State>(executor)) {
  state_->close = std::move(close);
  state_->timer.expires_after(std::max(deadline - now(), Duration(0)));
  state_->timer.async_wait([state = state_](const boost::system::error_code& ec) {
    if (ec || !state->close) return;
    state->expired = true;
    state->close();
  });
}

StreamDeadline::~StreamDeadline() {
  state_->close = nullptr;
  state_->timer.cancel();
}

}  // namespace dh::io
