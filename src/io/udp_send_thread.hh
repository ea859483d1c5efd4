#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/clock.hh"
#include "io/udp_parcel.hh"

namespace dh::io {

/// Seals and sends parcels in order, so that the network loop's core is free for everything else. The memory
/// goes round: kParcels of them in all, allocated as they are needed. Owned and called by the loop's thread.
class UdpSendThread {
public:
  /// Enough that neither side waits for the other, few enough that what is queued is sent within a
  /// millisecond.
  static constexpr std::size_t kParcels = 5;

  /// `on_done`: called from the thread when somebody waits (see spare()) or something went wrong; must only
  /// post to an executor.
  explicit UdpSendThread(std::function<void()> on_done);
  /// Sends what is queued, then ends.
  ~UdpSendThread();
  UdpSendThread(const UdpSendThread&) = delete;

  /// Whether take() has one to give. After false, on_done is called as soon as it has.
  bool spare();
  std::unique_ptr<UdpParcel> take();  // empty; only after spare() said yes
  void post(std::unique_ptr<UdpParcel> parcel);
  /// Nothing is queued and nothing is being sent: the loop may send by itself without overtaking.
  bool idle();
  /// How long it has been at work on a processor.
  Duration cpu_time() { return thread_cpu_time(thread_); }
  /// Hands every parcel that has left to `look`, then takes it for the next.
  template <class Look>
  void collect(Look&& look) {
    for (auto& parcel : take_done()) {
      look(*parcel);
      parcel->clear();
      free_.push_back(std::move(parcel));
    }
  }

private:
  void run();
  std::vector<std::unique_ptr<UdpParcel>> take_done();

  const std::function<void()> on_done_;
  std::vector<std::unique_ptr<UdpParcel>> free_;  // the loop's
  std::size_t made_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<UdpParcel>> queued_;
  std::vector<std::unique_ptr<UdpParcel>> done_;
  bool busy_ = false, awaited_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace dh::io
