#pragma once

#include <array>
#include <cstdint>

namespace dh {

/// Which of the last 1024 packet counters have been seen (RFC 6479's sliding bitmap). Ask only after the
/// packet authenticated, so that forgeries cannot move the window.
class ReplayWindow {
public:
  static constexpr std::uint64_t kSize = 1024;  // counters

  /// True the first time; false: seen, or older than the window.
  bool accept(std::uint64_t counter);

private:
  std::array<std::uint64_t, kSize / 64> bits_{};
  std::uint64_t end_ = 0;  // one above the highest counter seen
};

}  // namespace dh
