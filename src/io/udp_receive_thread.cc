#include "io/udp_receive_thread.hh"

#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace dh::io {
namespace {

Fd make_event() {
  Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (fd.get() < 0) throw std::system_error(errno, std::generic_category(), "cannot create an eventfd");
  return fd;
}

}  // namespace

UdpReceiveThread::UdpReceiveThread(std::function<void()> on_haul)
    : on_haul_(std::move(on_haul)), wake_(make_event()) {
  thread_ = std::thread([this] { run(); });
}

UdpReceiveThread::~UdpReceiveThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_one();
  wake();
  thread_.join();
}

void UdpReceiveThread::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
}

void UdpReceiveThread::add(path::SocketId id, std::shared_ptr<const Fd> socket) {
  {
    const std::lock_guard lock(mutex_);
    sockets_.push_back({id, std::move(socket)});
  }
  wake();
}

void UdpReceiveThread::remove(path::SocketId id) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(sockets_, [id](const Watched& watched) { return watched.id == id; });
  }
  wake();
}

void UdpReceiveThread::use(AheadOpeners openers) {
  const std::lock_guard lock(mutex_);
  openers_ = std::move(openers);
}

std::unique_ptr<UdpReceiveThread::Haul> UdpReceiveThread::take() {
  const std::lock_guard lock(mutex_);
  if (full_.empty()) {
    told_ = false;
    return nullptr;
  }
  auto haul = std::move(full_.front());
  full_.pop_front();
  return haul;
}

void UdpReceiveThread::give_back(std::unique_ptr<Haul> haul) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(haul));
  }
  room_.notify_one();
}

std::unique_ptr<UdpReceiveThread::Haul> UdpReceiveThread::wait_for_room() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return stopping_ || !free_.empty() || made_ < kMaxHauls; });
  if (stopping_) return nullptr;
  if (free_.empty()) {
    ++made_;
    lock.unlock();
    return std::make_unique<Haul>();
  }
  auto haul = std::move(free_.back());  // the last one used is the one in the cache
  free_.pop_back();
  return haul;
}

void UdpReceiveThread::read(const Watched& watched) {
  auto haul = wait_for_room();
  if (!haul) return;
  haul->socket = watched.id;
  haul->items.clear();
  AheadOpeners openers;
  haul->result = haul->reader.read(watched.socket->get(), [&](const Endpoint& from, ByteSpan datagram) {
    if (haul->items.empty()) {  // not before: a key that came first may be needed for what came then
      const std::lock_guard lock(mutex_);
      openers = openers_;
    }
    std::optional<bulk::Opened> ahead;
    for (auto it = openers.begin(); !ahead && it != openers.end(); ++it) ahead = (*it)->unseal(datagram);
    haul->items.push_back({from, datagram, ahead});
  });
  const std::lock_guard lock(mutex_);
  if (haul->items.empty()) {
    free_.push_back(std::move(haul));
    return;
  }
  full_.push_back(std::move(haul));
  if (!std::exchange(told_, true)) on_haul_();
}

void UdpReceiveThread::run() {
  std::vector<Watched> watched;
  std::vector<pollfd> fds;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      watched = sockets_;
    }
    fds.assign(1, {wake_.get(), POLLIN, 0});
    for (const Watched& one : watched) fds.push_back({one.socket->get(), POLLIN, 0});
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;  // EINTR
    if (fds[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count);
    }
    for (std::size_t i = 0; i < watched.size(); ++i)
      if (fds[i + 1].revents != 0) read(watched[i]);
  }
}

}  // namespace dh::io
