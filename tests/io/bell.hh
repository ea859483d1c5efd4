#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace dh::io {

// What a pump's thread rings when there is something new, and a test waits for.
class Bell {
public:
  void ring() {
    const std::lock_guard lock(mutex_);
    ++rings_;
    changed_.notify_all();
  }
  std::size_t rings() const {
    const std::lock_guard lock(mutex_);
    return rings_;
  }
  // Until it rings, or at once when it has since the last wait. False: it did not in 20 s.
  [[nodiscard]] bool wait() {
    std::unique_lock lock(mutex_);
    const bool rang = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return rings_ != heard_; });
    heard_ = rings_;
    return rang;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t rings_ = 0, heard_ = 0;
};

}  // namespace dh::io
