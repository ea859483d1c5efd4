#include "quic/receive_window.hh"

#include <algorithm>
#include <utility>

#include "base/check.hh"

namespace dh::quic {
namespace {

constexpr std::uint64_t kLargestStep = 32 << 10;  // bytes read before the peer hears of it, at most

}  // namespace

std::uint64_t WindowBudget::most(std::uint64_t window) const {
  // Shares of what it would find if it had nothing yet: in however many steps it grows.
  const std::uint64_t own = window - kFirstWindow;
  const std::uint64_t small = std::min(kFirstWindow + (own + left_) / kSmallShare, kFreeWindow);
  const std::uint64_t spare = left_ > kKeptForSmall ? left_ - kKeptForSmall : 0;
  const std::uint64_t large = std::min(kFirstWindow + (own + spare) / 5 * kLargeShareFifths, kLargestWindow);
  return std::max({window, small, large});
}

void WindowBudget::take(std::uint64_t size) {
  CHECK(size <= left_);
  left_ -= size;
}

void WindowBudget::give_back(std::uint64_t size) {
  left_ += size;
  CHECK(left_ <= kGrowthBudget);
}

std::uint64_t ReceiveWindow::on_open() {
  window_ = budget_.opening();
  settle();
  return window_ - std::exchange(promised_, window_);
}

std::uint64_t ReceiveWindow::on_read(std::uint64_t size, Duration rtt, Instant now) {
  CHECK(size <= promised_);
  promised_ -= size;
  if (!ended_) tune(size, rtt, now);
  settle();
  if (promised_ + std::min(window_ / 2, kLargestStep) > window_) return 0;
  return window_ - std::exchange(promised_, window_);
}

void ReceiveWindow::end(std::uint64_t unread) {
  ended_ = true;
  window_ = 0;
  promised_ = unread;
  settle();
}

void ReceiveWindow::tune(std::uint64_t size, Duration rtt, Instant now) {
  if (!since_) since_ = now;
  read_since_ += size;
  if (read_since_ < window_ / 2) return;
  const Duration took = now - *since_;
  if (took <= 2 * rtt) {
    window_ = std::min(2 * window_, budget_.most(window_));
  } else if (took > std::max<Duration>(8 * rtt, kSlowReader) && window_ > kFreeWindow) {
    window_ = std::max(window_ / 2, kFreeWindow);
  }
  since_ = now;
  read_since_ = 0;
}

void ReceiveWindow::settle() {
  const std::uint64_t wanted = std::max({window_, promised_, kFirstWindow}) - kFirstWindow;
  if (wanted > taken_) budget_.take(wanted - taken_);
  if (wanted < taken_) budget_.give_back(taken_ - wanted);
  taken_ = wanted;
}

}  // namespace dh::quic
