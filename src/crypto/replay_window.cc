#include "crypto/replay_window.hh"

#include <algorithm>

namespace dh {

bool ReplayWindow::accept(std::uint64_t counter) {
  if (counter == UINT64_MAX) return false;  // end_ could not stand above it
  if (counter >= end_) {
    // Forget what the window leaves behind, at most all of it.
    const std::uint64_t steps = std::min(counter + 1 - end_, kSize);
    for (std::uint64_t i = 0; i < steps; ++i) {
      const std::uint64_t slot = (counter - i) % kSize;
      bits_[slot / 64] &= ~(1ull << (slot % 64));
    }
    end_ = counter + 1;
  } else if (end_ - counter > kSize) {
    return false;
  }
  const std::uint64_t slot = counter % kSize;
  const std::uint64_t bit = 1ull << (slot % 64);
  if (bits_[slot / 64] & bit) return false;
  bits_[slot / 64] |= bit;
  return true;
}

}  // namespace dh
