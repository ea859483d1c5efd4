#include "io/udp_send_thread.hh"

#include <algorithm>
#include <utility>

#include "base/check.hh"

namespace dh::io {

UdpSendThread::UdpSendThread(std::function<void()> on_done) : on_done_(std::move(on_done)) {
  thread_ = std::thread([this] { run(); });
}

UdpSendThread::~UdpSendThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

bool UdpSendThread::spare() {
  if (!free_.empty() || made_ < kParcels) return true;
  const std::lock_guard lock(mutex_);
  if (!done_.empty()) return true;
  awaited_ = true;
  return false;
}

std::unique_ptr<UdpParcel> UdpSendThread::take() {
  if (free_.empty() && made_ < kParcels) {
    ++made_;
    return std::make_unique<UdpParcel>();
  }
  CHECK(!free_.empty());
  auto parcel = std::move(free_.back());  // the last one used is the one in the cache
  free_.pop_back();
  return parcel;
}

void UdpSendThread::post(std::unique_ptr<UdpParcel> parcel) {
  {
    const std::lock_guard lock(mutex_);
    queued_.push_back(std::move(parcel));
  }
  changed_.notify_one();
}

bool UdpSendThread::idle() {
  const std::lock_guard lock(mutex_);
  return queued_.empty() && !busy_;
}

std::vector<std::unique_ptr<UdpParcel>> UdpSendThread::take_done() {
  const std::lock_guard lock(mutex_);
  return std::exchange(done_, {});
}

void UdpSendThread::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queued_.empty(); });
    if (queued_.empty()) return;
    auto parcel = std::move(queued_.front());
    queued_.pop_front();
    busy_ = true;
    lock.unlock();
    parcel->leave();
    const bool trouble =
        parcel->cannot_segment || std::any_of(parcel->outcomes.begin(), parcel->outcomes.end(),
                                              [](const auto& o) { return o.error != 0; });
    lock.lock();
    busy_ = false;
    done_.push_back(std::move(parcel));
    const bool tell = std::exchange(awaited_, false) || trouble;
    if (!tell) continue;
    lock.unlock();
    on_done_();
    lock.lock();
  }
}

}  // namespace dh::io
