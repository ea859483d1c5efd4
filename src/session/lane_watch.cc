#include "session/lane_watch.hh"

#include <algorithm>
#include <utility>

namespace dh::session {

bool LaneWatch::on_sample(const Sample& sample, Instant now) {
  const Duration elapsed = now - std::exchange(sampled_, now);
  const std::size_t threads = sample.cpu_times.size();
  cpu_times_.resize(threads);
  Duration busiest{};
  for (std::size_t i = 0; i < threads; ++i)
    busiest = std::max(busiest, sample.cpu_times[i] - std::exchange(cpu_times_[i], sample.cpu_times[i]));
  const std::uint64_t messages = sample.messages - std::exchange(messages_, sample.messages);
  const std::uint64_t dropped = sample.dropped - std::exchange(dropped_, sample.dropped);

  const bool busy = threads > 0 && threads + 1 < cores_ && to_seconds(busiest) >= kBusy * to_seconds(elapsed);
  const bool overflows = static_cast<double>(dropped) > kDropped * static_cast<double>(messages + dropped);
  if (!busy && !overflows) {
    in_row_ = 0;
    return false;
  }
  if (++in_row_ < kSamplesInRow) return false;
  in_row_ = 0;
  return true;
}

}  // namespace dh::session
