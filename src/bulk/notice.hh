#pragma once

#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include "bulk/limits.hh"
#include "bulk/stream.hh"
#include "wire/bulk_packet.hh"

namespace dh::bulk {

/// One small control frame (ABORT, COMPLETE) that must get through: sent on every live path, again and again
/// with growing pauses, until the owner stops it. Paths are bits of a mask.
class Notice {
public:
  bool active() const { return active_; }
  int tries() const { return tries_; }

  void start(Instant now) {
    active_ = true;
    due_ = now;
  }
  void stop() {
    active_ = false;
    due_.reset();
    pending_ = 0;
  }
  /// Send once more on this path, outside the timetable.
  void repeat_on(PathId path) { pending_ |= bit(path); }

  /// The next path to send it on now.
  std::optional<PathId> next_path(std::uint64_t live, Duration pto, Instant now) {
    if (active_ && live == 0 && is_due(due_, now)) due_ = now + kNoPathPause;
    if (active_ && is_due(due_, now)) {
      pending_ |= live;
      const Duration pause = std::min<Duration>(pto * (1 << std::min(tries_, 8)), kMaxPtoBackoff);
      due_ = now + std::max(pto, pause);
      ++tries_;
    }
    const std::uint64_t ready = pending_ & live;
    if (ready == 0) return std::nullopt;
    return static_cast<PathId>(std::countr_zero(ready));
  }
  void on_sent(PathId path, std::uint64_t number) {
    pending_ &= ~bit(path);
    for (const auto& [known, first] : first_numbers_)
      if (known == path) return;
    first_numbers_.emplace_back(path, number);
  }
  /// True when an ack up to `largest` on `path` covers a packet with this frame: `largest` itself has
  /// arrived, and everything sent since the first carries the frame.
  bool covered_by(PathId path, std::uint64_t largest) const {
    for (const auto& [known, first] : first_numbers_)
      if (known == path) return largest >= first;
    return false;
  }
  std::optional<Instant> due() const { return due_; }

private:
  static std::uint64_t bit(PathId path) { return std::uint64_t{1} << path; }

  bool active_ = false;
  std::optional<Instant> due_;
  std::uint64_t pending_ = 0;
  int tries_ = 0;
  std::vector<std::pair<PathId, std::uint64_t>> first_numbers_;  // at most one per path
};

/// How a stream ends badly, the same at both ends.
///   Running --abort()--> Telling --acked or given up--> Over
///   Running --ABORT from the peer--> Over
class AbortExchange {
public:
  enum class State : std::uint8_t {
    Running,  // nothing is wrong
    Telling,  // we aborted; the peer has not confirmed that it knows
    Over,     // both know, or the peer cannot be reached
  };

  State state() const { return state_; }
  bool running() const { return state_ == State::Running; }
  bool ours() const { return ours_; }
  AbortCode code() const { return code_; }
  const std::string& reason() const { return reason_; }
  Notice& notice() { return notice_; }
  const Notice& notice() const { return notice_; }

  /// We give up. Only when running.
  StreamAborted start(AbortCode code, std::string reason, Instant now) {
    state_ = State::Telling;
    ours_ = true;
    code_ = code;
    reason.resize(std::min(reason.size(), wire::AbortFrame::kMaxReason));
    reason_ = std::move(reason);
    notice_.start(now);
    return {code_, reason_, false};
  }
  /// The peer's ABORT. Empty when it is no news.
  std::optional<StreamAborted> on_abort(const wire::AbortFrame& frame) {
    const bool news = running();
    state_ = State::Over;
    notice_.stop();
    if (!news) return std::nullopt;
    const bool known = frame.code >= static_cast<std::uint16_t>(AbortCode::Cancelled) &&
                       frame.code <= static_cast<std::uint16_t>(AbortCode::Declined);
    code_ = known ? static_cast<AbortCode>(frame.code) : AbortCode::Internal;
    reason_ = std::string(frame.reason);
    return StreamAborted{code_, reason_, true};
  }
  void on_ack(PathId path, std::uint64_t largest) {
    if (state_ == State::Telling && notice_.covered_by(path, largest)) finish();
  }
  std::optional<PathId> next_path(std::uint64_t live, Duration pto, Instant now) {
    if (state_ == State::Telling && notice_.tries() >= kMaxAbortTries && is_due(notice_.due(), now)) finish();
    return notice_.next_path(live, pto, now);
  }

private:
  void finish() {
    state_ = State::Over;
    notice_.stop();
  }

  State state_ = State::Running;
  bool ours_ = false;
  AbortCode code_ = AbortCode::Internal;
  std::string reason_;
  Notice notice_;
};

}  // namespace dh::bulk
