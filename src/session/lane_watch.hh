#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/time.hh"

namespace dh::session {

/// Tells when one end of a stream should ask for another lane: the thread that seals or opens for the busiest
/// lane fills its core while another core is free for one more, or datagrams are lost in front of a full
/// socket buffer. Pure.
class LaneWatch {
public:
  static constexpr double kBusy = 0.9;          // of a core
  static constexpr double kDropped = 0.001;     // of the messages that came
  static constexpr unsigned kSamplesInRow = 2;  // one may be chance

  /// `cores`: of this machine. One is the network loop's.
  explicit LaneWatch(std::size_t cores) : cores_(cores) {}

  struct Sample {
    std::span<const Duration> cpu_times;      // of each lane's thread since it began; empty: no threads
    std::uint64_t messages = 0, dropped = 0;  // by the sockets, as the kernel counts, since the beginning
  };
  /// About twice a second. True: one more lane would help.
  bool on_sample(const Sample& sample, Instant now);

private:
  const std::size_t cores_;
  std::vector<Duration> cpu_times_;
  std::uint64_t messages_ = 0, dropped_ = 0;
  Instant sampled_{};
  unsigned in_row_ = 0;
};

}  // namespace dh::session
