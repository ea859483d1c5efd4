#pragma once

#include <algorithm>
#include <optional>

#include "base/time.hh"
#include "quic/limits.hh"

namespace dh::quic {

/// What the streams of one connection may hold unread beyond kFirstWindow each. Whoever wants more gets a
/// part of what is left, never all of it: however many readers pause, a later stream finds something, and
/// kFirstWindow always.
class WindowBudget {
public:
  /// What a new stream begins with.
  std::uint64_t opening() const { return std::min(kFirstWindow + left_ / kOpeningShare, kOpeningWindow); }
  /// How large a window of this size may become now.
  std::uint64_t most(std::uint64_t window) const;
  void take(std::uint64_t size);
  void give_back(std::uint64_t size);
  std::uint64_t left() const { return left_; }

private:
  std::uint64_t left_ = kGrowthBudget;
};

/// Says how much a stream's peer may send ahead of its reader. Doubles when half of it is read within two
/// round trips, for then it is the window that holds the stream back; shrinks again when the reader turns out
/// to be slow. A promise is never broken, so all that was promised and not read counts, sent or not.
class ReceiveWindow {
public:
  explicit ReceiveWindow(WindowBudget& budget) : budget_(budget) {}
  ~ReceiveWindow() { budget_.give_back(taken_); }
  ReceiveWindow(const ReceiveWindow&) = delete;

  /// The stream is open, with a limit of kFirstWindow: how far that moves at once.
  std::uint64_t on_open();
  /// `size` bytes were read: how far the limit moves. Mostly 0, for the peer is told in steps.
  std::uint64_t on_read(std::uint64_t size, Duration rtt, Instant now);
  /// Nothing more will come: what is kept for it is given back, except for what is still unread.
  void end(std::uint64_t unread);
  std::uint64_t size() const { return window_; }

private:
  void tune(std::uint64_t size, Duration rtt, Instant now);
  void settle();

  WindowBudget& budget_;
  std::uint64_t window_ = kFirstWindow;    // what may lie before the reader
  std::uint64_t promised_ = kFirstWindow;  // what of it the peer knows; more than window_ after that shrank
  std::uint64_t taken_ = 0;                // of the budget
  std::uint64_t read_since_ = 0;
  std::optional<Instant> since_;
  bool ended_ = false;
};

}  // namespace dh::quic
