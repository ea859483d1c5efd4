#pragma once

#include <cstdint>
#include <vector>

#include "bulk/limits.hh"

namespace dh::bulk {

/// Which packet numbers of one path were already accepted: a sliding bitmap. Ask with verdict() before
/// opening a packet, mark() only after it has authenticated: a forged number must not move the window.
class ReplayWindow {
public:
  enum class Verdict : std::uint8_t {
    Fresh,     // not seen
    Repeated,  // seen
    TooOld,    // below the window: may or may not have been seen, so it is refused
  };

  Verdict verdict(std::uint64_t number) const {
    if (number >= next_) return Verdict::Fresh;
    if (next_ - number > kReplayWindowPackets) return Verdict::TooOld;
    return (words_[word(number)] >> (number & 63) & 1) != 0 ? Verdict::Repeated : Verdict::Fresh;
  }

  void mark(std::uint64_t number) {
    if (words_.empty()) words_.resize(kWords);
    if (number >= next_) {
      // Clear the words the window moves over; a jump beyond the window clears each once.
      const std::uint64_t first = next_ == 0 ? 0 : (next_ - 1) / 64 + 1;
      const std::uint64_t last = number / 64;
      if (last >= first)
        for (std::uint64_t i = 0; i <= last - first && i < kWords; ++i) words_[(last - i) % kWords] = 0;
      next_ = number + 1;
    }
    words_[word(number)] |= std::uint64_t{1} << (number & 63);
  }

private:
  // One word more than the window, so that clearing whole words never eats into it.
  static constexpr std::uint64_t kWords = kReplayWindowPackets / 64 + 1;
  static std::size_t word(std::uint64_t number) { return static_cast<std::size_t>(number / 64 % kWords); }

  std::vector<std::uint64_t> words_;  // allocated with the first packet
  std::uint64_t next_ = 0;            // highest marked + 1
};

}  // namespace dh::bulk
