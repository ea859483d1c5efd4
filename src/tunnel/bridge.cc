#include "tunnel/bridge.hh"

namespace dh::tunnel {

void Bridge::on_tcp_end() {
  if (over_ || to_stream_ == Direction::Finished) return;
  to_stream_ = Direction::Finished;
  actions_.push_back(FinishStream{});
  finish_if_both_ended();
}

void Bridge::on_stream_end() {
  if (over_ || to_tcp_ == Direction::Finished) return;
  to_tcp_ = Direction::Finished;
  actions_.push_back(ShutdownTcp{});
  finish_if_both_ended();
}

void Bridge::on_tcp_failed() {
  break_off(static_cast<std::uint64_t>(StreamCode::Reset), true);
}

void Bridge::on_tcp_refused(StreamCode why) {
  break_off(static_cast<std::uint64_t>(why), true);
}

// A RESET ends both directions, as a RST does. Whoever sent it has given up the other one, too.
void Bridge::on_stream_reset(std::uint64_t code) {
  if (over_) return;
  reset_code_ = code;
  break_off(code, true);
}

// TCP cannot say that it reads no more but by a RST.
void Bridge::on_stream_stopped() {
  break_off(static_cast<std::uint64_t>(StreamCode::Reset), true);
}

void Bridge::on_stream_lost() {
  break_off(static_cast<std::uint64_t>(StreamCode::Reset), false);
}

void Bridge::break_off(std::uint64_t code, bool tell_stream) {
  if (over_) return;
  over_ = true;
  if (tell_stream) {
    actions_.push_back(ResetStream{code});
    actions_.push_back(StopStream{code});
  }
  actions_.push_back(ResetTcp{});
}

void Bridge::finish_if_both_ended() {
  if (to_stream_ != Direction::Finished || to_tcp_ != Direction::Finished) return;
  over_ = true;
  actions_.push_back(CloseTcp{});
}

std::optional<BridgeAction> Bridge::poll_action() {
  if (actions_.empty()) return std::nullopt;
  const BridgeAction action = actions_.front();
  actions_.pop_front();
  return action;
}

}  // namespace dh::tunnel
