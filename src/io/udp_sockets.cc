#include "io/udp_sockets.hh"

#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/cheaper_way.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/udp_lanes.hh"
#include "io/udp_parcel.hh"
#include "io/udp_reader.hh"
#include "io/udp_send_thread.hh"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace dh::io {
namespace {

constexpr int kReadsPerTurn = 4;          // then other work gets its turn
constexpr std::size_t kWorthAThread = 8;  // datagrams: fewer leave sooner from the loop
// Whether a kernel that segments does so for less than datagrams cost that are sent one by one: asked once a
// GiB, with a MiB of each. Batches of fewer than kWorthComparing say nothing.
constexpr CheaperWay::Bytes kCompare = {.first = 4u << 20, .sample = 1u << 20, .period = 1u << 30};
constexpr std::size_t kWorthComparing = 8;

struct Socket {
  Socket(const asio::any_io_executor& executor, Fd fd, bool v6)
      : own(std::make_shared<const Fd>(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0))),
        descriptor(executor, fd.release()),
        is_v6(v6) {}
  std::shared_ptr<const Fd> own;  // for the threads, which may be at it when `descriptor` closes
  asio::posix::stream_descriptor descriptor;
  bool is_v6;
  std::uint32_t overflow = 0;  // as last heard
};

void set(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

std::uint64_t receive_buffer_of(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &size) != 0) return 0;
  return static_cast<std::uint64_t>(value) / 2;  // the kernel doubles it for its own bookkeeping
}

/// Datagrams leave whole or not at all, whatever the kernel has heard about the path: what passes is for us
/// to find out (RFC 8899 §4.4).
void never_fragment(const Fd& fd, bool v6) {
  static_assert(int{IPV6_PMTUDISC_PROBE} == int{IP_PMTUDISC_PROBE});
  const int probe = IP_PMTUDISC_PROBE, on = 1;
  if (v6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe);
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on);
  } else {
    ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
  }
}

}  // namespace

struct UdpSockets::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor executor_in, UdpOffload offload_in, OnDatagram datagram, OnBatchEnd end,
       OnRefused refused_in, OnTooBig too_big_in)
      : executor(std::move(executor_in)),
        offload(offload_in),
        on_datagram(std::move(datagram)),
        on_batch_end(std::move(end)),
        on_refused(std::move(refused_in)),
        on_too_big(std::move(too_big_in)) {}

  void wait(path::SocketId id, std::shared_ptr<Socket> socket) {
    asio::posix::stream_descriptor& descriptor = socket->descriptor;
    descriptor.async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this(), id, socket = std::move(socket)](boost::system::error_code error) mutable {
          if (error || !socket->descriptor.is_open()) return;
          self->receive(id, *socket);
          if (socket->descriptor.is_open()) self->wait(id, std::move(socket));
        });
  }

  void receive(path::SocketId id, Socket& socket) {
    const auto keep = shared_from_this();
    std::optional<Instant> at;
    const UdpReader::OnDatagram forward = [&](const Endpoint& from, ByteSpan datagram) {
      if (!at) at = now();
      on_datagram(id, from, datagram, *at, std::nullopt);
    };
    for (int turn = 0; turn < kReadsPerTurn; ++turn) {
      at.reset();
      const UdpReader::Result got = reader->read(socket.descriptor.native_handle(), forward);
      if (got.datagrams == 0) break;
      count(socket, got);
      if (!socket.descriptor.is_open() || !got.more) break;
    }
    if (!closed) on_batch_end();
  }

  void count(Socket& socket, const UdpReader::Result& got) {
    ++counters.receive_calls;
    counters.messages_in += got.messages;
    counters.datagrams_in += got.datagrams;
    counters.bytes_in += got.bytes;
    if (got.overflow)
      counters.receive_dropped += *got.overflow - std::exchange(socket.overflow, *got.overflow);
  }

  // What the receive thread of a lane has read.
  void unload(std::size_t lane) {
    const auto keep = shared_from_this();
    for (int turn = 0; turn < kReadsPerTurn && !closed; ++turn) {
      auto haul = receive_threads[lane]->take();
      if (!haul) return on_batch_end();
      const auto found = sockets.find(haul->socket);
      if (found != sockets.end()) count(*found->second[lane], haul->result);
      const Instant at = now();
      for (const auto& item : haul->items) {
        if (!sockets.contains(haul->socket)) break;  // closed, perhaps by the datagram before
        on_datagram(haul->socket, item.from, item.datagram, at, item.ahead);
      }
      if (!closed) receive_threads[lane]->give_back(std::move(haul));
    }
    if (closed) return;
    on_batch_end();
    post_unload(executor, weak_from_this(), lane);
  }

  static void post_unload(const asio::any_io_executor& executor, const std::weak_ptr<Impl>& weak,
                          std::size_t lane) {
    asio::post(executor, [weak, lane] {
      if (const auto self = weak.lock(); self && !self->closed) self->unload(lane);
    });
  }

  void start_receive_threads(std::size_t count) {
    while (receive_threads.size() < count)
      receive_threads.push_back(std::make_unique<UdpReceiveThread>(
          [executor = executor, weak = weak_from_this(), lane = receive_threads.size()] {
            post_unload(executor, weak, lane);
          }));
  }

  void start_send_threads(std::size_t count) {
    while (send_threads.size() < count)
      send_threads.push_back(std::make_unique<UdpSendThread>([executor = executor, weak = weak_from_this()] {
        asio::post(executor, [weak] {
          const auto self = weak.lock();
          if (!self || self->closed) return;
          self->flush();
          self->tell();
          self->on_batch_end();
        });
      }));
  }

  // One more for this id, bound and set up, and watched. nullptr: no descriptor is left.
  std::shared_ptr<Socket> watch(path::SocketId id, Fd fd, bool v6) {
    set(fd.get(), SOL_SOCKET, SO_RCVBUF, kBufferBytes);
    set(fd.get(), SOL_SOCKET, SO_SNDBUF, kBufferBytes);
    set(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBufferBytes);  // beyond the system's limit, with privileges
    set(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, kBufferBytes);
    set(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (offload.coalesce) set(fd.get(), SOL_UDP, UDP_GRO, 1);
    std::uint64_t& smallest = counters.receive_buffer_bytes;
    const std::uint64_t given = receive_buffer_of(fd.get());
    smallest = smallest == 0 ? given : std::min(smallest, given);
    never_fragment(fd, v6);
    auto socket = std::make_shared<Socket>(executor, std::move(fd), v6);
    if (!*socket->own) return nullptr;
    auto& of_lanes = sockets[id];
    if (offload.receive_thread) {
      start_receive_threads(of_lanes.size() + 1);
      receive_threads[of_lanes.size()]->add(id, socket->own);
      listening.emplace(executor);
    } else {
      wait(id, socket);
    }
    of_lanes.push_back(socket);
    return socket;
  }

  void receive_lanes(path::SocketId id, std::size_t lanes) {
    const auto found = sockets.find(id);
    if (found == sockets.end() || found->second.size() >= lanes) return;
    const Fd& first = *found->second.front()->own;
    share_port(first);
    try {
      while (found->second.size() < lanes)
        if (!watch(id, bind_beside(first), found->second.front()->is_v6)) break;
    } catch (const std::runtime_error&) {
      // No descriptor, or no such option here: the first socket goes on by itself.
    }
    if (found->second.size() > 1) steer_by_lane(first);
  }

  ByteSpan room() {
    collect();
    for (const auto& thread : send_threads)
      if (!thread->spare()) return {};  // send() may need another one
    return parcel->batch.room();
  }

  bool fits(const path::Transmit& next, std::size_t size) const {
    if (parcel->batch.empty()) return true;
    return next.socket == parcel->id && next.to == parcel->to && next.lane == parcel->lane && next.ttl == 0 &&
           parcel->ttl == 0 && parcel->batch.fits(size);
  }

  void send(const path::Transmit& to, ByteView datagram, bulk::Seal seal) {
    if (!fits(to, datagram.size()) && !flush(datagram)) {
      ++counters.send_dropped;  // who asks for room() first does not come here
      return;
    }
    parcel->id = to.socket;
    parcel->to = to.to;
    parcel->lane = to.lane;
    parcel->ttl = to.ttl;
    parcel->batch.add(datagram, std::move(seal));
  }

  // False: the send thread has all the memory there is; it calls again when it has not. `next`: a datagram
  // that waits in the batch's room.
  bool flush(ByteView next = {}) {
    if (parcel->batch.empty()) return true;
    const auto it = sockets.find(parcel->id);
    if (it == sockets.end()) {
      counters.send_dropped += parcel->batch.count();
      parcel->clear(next);
      return true;
    }
    parcel->socket = it->second.front()->own;
    parcel->by_kernel = offload.segment && !segmenting.is_second();
    parcel->timed = offload.segment && segmenting.is_sample() && parcel->batch.count() >= kWorthComparing;
    parcel->is_v6 = it->second.front()->is_v6;
    collect();
    // Never past what the lane's thread still has: a packet that overtakes looks like a lost one, and a key
    // is used on one thread at a time.
    UdpSendThread* thread = send_threads.empty() ? nullptr : send_threads[parcel->lane].get();
    if (thread != nullptr && (parcel->batch.count() >= kWorthAThread || !thread->idle())) {
      if (!thread->spare()) return false;
      collect();
      auto leaving = std::exchange(parcel, thread->take());
      thread->post(std::move(leaving));  // `next` stays behind what is sent of it until collect()
      return true;
    }
    parcel->leave();
    account(*parcel);
    parcel->clear(next);
    return true;
  }

  void collect() {
    for (const auto& thread : send_threads) thread->collect([this](const UdpParcel& left) { account(left); });
  }

  void account(const UdpParcel& left) {
    counters.send_calls += left.send_calls;
    counters.bytes_out += left.bytes_out;
    if (left.cannot_segment) offload.segment = false;
    if (left.batch.count() >= kWorthComparing && left.went_well() && (left.timed || !segmenting.is_sample()))
      segmenting.went(!left.by_kernel, left.bytes_out, left.cost);
    for (const auto& [error, datagrams] : left.outcomes) account(left, error, datagrams);
  }

  void account(const UdpParcel& left, int error, std::size_t datagrams) {
    switch (error) {
      case 0:
        counters.datagrams_out += datagrams;
        return;
      case EAGAIN:
      case ENOBUFS:
        counters.send_dropped += datagrams;  // as if lost on the way
        return;
      case EMSGSIZE:
        counters.send_too_big += datagrams;
        if (too_big.empty() || too_big.back().to != left.to ||
            too_big.back().size != left.batch.segment_bytes())
          too_big.push_back({left.id, left.to, left.batch.segment_bytes()});
        return;
      case ENETUNREACH:
      case EHOSTUNREACH:
      case EADDRNOTAVAIL:
      case EACCES:
      case EPERM:
      case ENETDOWN:
        counters.send_refused += datagrams;
        refused.push_back({left.id, left.to});
        return;
      default:
        counters.send_dropped += datagrams;
        return;
    }
  }

  void tell() {
    collect();
    const auto no_way = std::exchange(refused, {});
    for (const auto& [id, to] : no_way) on_refused(id, to);
    const auto unfit = std::exchange(too_big, {});
    for (const auto& [id, to, size] : unfit) on_too_big(id, to, size);
  }

  asio::any_io_executor executor;
  UdpOffload offload;
  CheaperWay segmenting{kCompare};  // second: one datagram a system call
  OnDatagram on_datagram;
  OnBatchEnd on_batch_end;
  OnRefused on_refused;
  OnTooBig on_too_big;
  std::map<path::SocketId, std::vector<std::shared_ptr<Socket>>> sockets;  // one for each lane
  std::unique_ptr<UdpReader> reader;                                       // without a receive thread
  std::unique_ptr<UdpParcel> parcel = std::make_unique<UdpParcel>();       // being filled
  // One for each lane; none if the loop does it all.
  std::vector<std::unique_ptr<UdpSendThread>> send_threads;
  std::vector<std::unique_ptr<UdpReceiveThread>> receive_threads;
  // While the receive threads listen the loop has something to wait for, as it has without.
  std::optional<asio::executor_work_guard<asio::any_io_executor>> listening;
  bool closed = false;
  std::vector<std::pair<path::SocketId, Endpoint>> refused;
  struct TooBig {
    path::SocketId socket;
    Endpoint to;
    std::size_t size;
  };
  std::vector<TooBig> too_big;
  UdpCounters counters;
};

UdpSockets::UdpSockets(asio::any_io_executor executor, UdpOffload offload, OnDatagram on_datagram,
                       OnBatchEnd on_batch_end, OnRefused on_refused, OnTooBig on_too_big)
    : impl_(std::make_shared<Impl>(std::move(executor), offload, std::move(on_datagram),
                                   std::move(on_batch_end), std::move(on_refused), std::move(on_too_big))) {
  if (offload.receive_thread) {
    impl_->start_receive_threads(1);
  } else {
    impl_->reader = std::make_unique<UdpReader>();
  }
  if (offload.send_thread) impl_->start_send_threads(1);
}

UdpSockets::~UdpSockets() {
  close_all();
}

std::optional<std::uint16_t> UdpSockets::open(path::SocketId id, bool is_v6) {
  Fd fd;
  try {
    fd = bind_udp({is_v6 ? IpAddress::v6(ByteArray<16>{}) : IpAddress::v4(0, 0, 0, 0), 0});
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
  const std::uint16_t port = bound_endpoint(fd).port;
  if (!impl_->watch(id, std::move(fd), is_v6)) return std::nullopt;
  return port;
}

void UdpSockets::close(path::SocketId id) {
  if (impl_->parcel->id == id) impl_->flush();
  const auto it = impl_->sockets.find(id);
  if (it == impl_->sockets.end()) return;
  for (const auto& thread : impl_->receive_threads) thread->remove(id);
  for (const auto& socket : it->second) socket->descriptor.close();  // its pending wait holds it otherwise
  impl_->sockets.erase(it);
  if (impl_->sockets.empty()) impl_->listening.reset();
}

void UdpSockets::close_all() {
  impl_->closed = true;
  impl_->send_threads.clear();  // each sends what it has
  impl_->flush();               // and what it had no hands for
  impl_->receive_threads.clear();
  impl_->listening.reset();
  for (const auto& [id, of_lanes] : impl_->sockets)
    for (const auto& socket : of_lanes) socket->descriptor.close();
  impl_->sockets.clear();
}

ByteSpan UdpSockets::room() {
  return impl_->room();
}

void UdpSockets::send(const path::Transmit& to, ByteView datagram, bulk::Seal seal) {
  impl_->send(to, datagram, std::move(seal));
}

void UdpSockets::flush() {
  impl_->flush();
  impl_->tell();
}

void UdpSockets::send_lanes(std::size_t lanes) {
  if (impl_->offload.send_thread) impl_->start_send_threads(lanes);
}

void UdpSockets::receive_lanes(path::SocketId id, std::size_t lanes) {
  impl_->receive_lanes(id, lanes);
}

std::size_t UdpSockets::receive_threads() const {
  return impl_->receive_threads.size();
}

void UdpSockets::use(std::size_t thread, AheadOpeners openers) {
  impl_->receive_threads[thread]->use(std::move(openers));
}

std::vector<Duration> UdpSockets::lane_cpu_times() const {
  std::vector<Duration> out;
  for (const auto& thread : impl_->send_threads) out.push_back(thread->cpu_time());
  for (const auto& thread : impl_->receive_threads) out.push_back(thread->cpu_time());
  return out;
}

const UdpCounters& UdpSockets::counters() const {
  impl_->collect();
  return impl_->counters;
}

}  // namespace dh::io
