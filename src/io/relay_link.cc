#include "io/relay_link.hh"

#include <algorithm>

#include "io/clock.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr std::size_t kReadSize = 64 << 10;    // a whole largest frame at once, four TLS records
constexpr std::size_t kWriteSize = 256 << 10;  // per write: progress is seen at this grain
constexpr std::size_t kHardMarks = 16;         // x high_mark: a sender that never asks is stopped there

}  // namespace

RelayLink::RelayLink(asio::any_io_executor executor, std::unique_ptr<ByteStream> stream,
                     std::unique_ptr<derp::ClientCore> core, std::size_t high_mark)
    : executor_(std::move(executor)),
      stream_(std::move(stream)),
      core_(std::move(core)),
      high_mark_(high_mark),
      timer_(executor_),
      wake_writer_(executor_) {}

asio::awaitable<LinkEnd> RelayLink::run(Bytes begun, OnEvent on_event, OnDrained on_drained) {
  const auto self = shared_from_this();
  on_event_ = std::move(on_event);
  on_drained_ = std::move(on_drained);
  // The writer holds the link: it ends, at the latest, when the stream is closed below or by close().
  asio::co_spawn(executor_, write_loop(self), [](std::exception_ptr) {});  // nothing in it throws
  if (!begun.empty()) core_->on_bytes(begun, now());
  drain_events();
  std::string broken;
  while (!dead_ && !closed_) {
    const ByteSpan space = core_->input_space(kReadSize);
    const auto [ec, size] = co_await stream_->read_some(space);
    if (closed_ || dead_) break;
    const Instant at = now();
    if (ec) {
      if (ec != asio::error::eof) broken = ec.message();
      core_->on_eof(at);
    } else {
      core_->on_input(size, at);
    }
    drain_events();
  }
  LinkEnd end;
  end.error = dead_;
  end.message = broken.empty() && dead_ ? std::string(derp::to_string(*dead_)) : broken;
  close();
  co_return end;
}

asio::awaitable<void> RelayLink::write_loop(std::shared_ptr<RelayLink> self) {
  co_await self->write_until_closed();
}

asio::awaitable<void> RelayLink::write_until_closed() {
  while (!closed_) {
    if (!core_->take_output(batch_)) {
      wake_writer_.expires_at(asio::steady_timer::time_point::max());
      co_await wake_writer_.async_wait(use_result);
      continue;
    }
    in_flight_ = batch_.size();
    ByteView rest = batch_;
    while (!rest.empty() && !closed_) {
      const ByteView part = rest.first(std::min(rest.size(), kWriteSize));
      if (co_await stream_->write(part)) {
        stream_->close();  // the reader notices and tells why
        co_return;
      }
      rest = rest.subspan(part.size());
      in_flight_ = rest.size();
      if (full_ && queued() < high_mark_ / 2 && !closed_) {
        full_ = false;
        if (on_drained_) on_drained_();
      }
    }
  }
}

derp::SendResult RelayLink::send(const PublicKey& to, ByteView packet) {
  if (closed_ || dead_ || queued() >= kHardMarks * high_mark_) return derp::SendResult::Dead;
  const derp::SendResult result = core_->send_packet(to, packet, now());
  if (queued() >= high_mark_) full_ = true;
  kick_writer();
  return result;
}

void RelayLink::drain_events() {
  const auto self = shared_from_this();
  while (!closed_) {
    auto event = core_->poll_event();
    if (!event) break;
    if (const auto* dead = std::get_if<derp::ConnectionDead>(&*event)) {
      dead_ = dead->error;
      stream_->close();
      timer_.cancel();
      return;
    }
    if (on_event_) on_event_(*event);
  }
  if (closed_) return;
  kick_writer();
  arm_timer();
}

// Re-arms only towards an earlier time: an early wake finds nothing due and arms again.
void RelayLink::arm_timer() {
  const auto due = core_->next_timeout();
  if (!due || closed_ || (timer_at_ && *timer_at_ <= *due)) return;
  timer_at_ = due;
  timer_.expires_after(std::max(*due - now(), Duration(0)));
  timer_.async_wait([self = shared_from_this()](const error_code& ec) {
    if (ec || self->closed_ || self->dead_) return;
    self->timer_at_.reset();
    const Instant at = now();
    if (is_due(self->core_->next_timeout(), at)) self->core_->on_timeout(at);
    self->drain_events();
  });
}

void RelayLink::close() {
  if (closed_) return;
  closed_ = true;
  stream_->close();
  timer_.cancel();
  wake_writer_.cancel();
}

}  // namespace dh::io
