#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bulk/keys.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/udp_reader.hh"
#include "path/route.hh"

namespace dh::io {

/// One for each lane, for one thread.
using AheadOpeners = std::vector<std::shared_ptr<bulk::AheadOpener>>;

/// Drains UDP sockets as soon as something arrives and opens what is of the stream, so that neither a busy
/// loop nor the cipher makes the kernel's buffer overflow. What it read waits in a ring of hauls, at most
/// kMaxHauls, made as they are needed. Owned and called by the loop's thread.
class UdpReceiveThread {
public:
  static constexpr std::size_t kMaxHauls = 16;  // of 1 MiB: more waits with the kernel

  /// What one system call brought.
  struct Haul {
    struct Item {
      Endpoint from;
      ByteSpan datagram;  // may be changed in place
      std::optional<bulk::Opened> ahead;
    };
    path::SocketId socket = 0;
    UdpReader::Result result;
    std::vector<Item> items;
    UdpReader reader;  // owns the bytes
  };

  /// `on_haul`: called from the thread when something is there to take; must only post to an executor. Not
  /// called again until take() has found nothing.
  explicit UdpReceiveThread(std::function<void()> on_haul);
  ~UdpReceiveThread();
  UdpReceiveThread(const UdpReceiveThread&) = delete;

  void add(path::SocketId id, std::shared_ptr<const Fd> socket);
  void remove(path::SocketId id);  // hauls of it may still come
  /// For all that is read from now on.
  void use(AheadOpeners openers);
  std::unique_ptr<Haul> take();  // the oldest; nullptr: none
  void give_back(std::unique_ptr<Haul> haul);
  /// How long it has been at work on a processor.
  Duration cpu_time() { return thread_cpu_time(thread_); }

private:
  struct Watched {
    path::SocketId id;
    std::shared_ptr<const Fd> socket;
  };
  void run();
  std::unique_ptr<Haul> wait_for_room();
  void read(const Watched& watched);
  void wake() const;

  const std::function<void()> on_haul_;
  const Fd wake_;  // eventfd: the sockets have changed, or the end
  std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Watched> sockets_;
  AheadOpeners openers_;
  std::vector<std::unique_ptr<Haul>> free_;
  std::deque<std::unique_ptr<Haul>> full_;
  std::size_t made_ = 0;
  bool told_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace dh::io
