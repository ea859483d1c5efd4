#include "io/udp_sockets.hh"

#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/udp_parcel.hh"
#include "io/udp_reader.hh"
#include "io/udp_receive_thread.hh"
#include "io/udp_send_thread.hh"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace dh::io {
namespace {

constexpr int kReadsPerTurn = 4;          // then other work gets its turn
constexpr std::size_t kWorthAThread = 8;  // datagrams: fewer leave sooner from the loop

struct Socket {
  Socket(asio::any_io_executor executor, Fd fd, bool v6)
      : own(std::make_shared<const Fd>(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0))),
        descriptor(std::move(executor), fd.release()),
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
  const int probe = v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE, on = 1;
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

  void wait(path::SocketId id) {
    const auto it = sockets.find(id);
    if (it == sockets.end()) return;
    it->second->descriptor.async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this(), id, socket = it->second](boost::system::error_code error) {
          const auto found = self->sockets.find(id);
          if (error || found == self->sockets.end() || found->second != socket) return;
          self->receive(id, *socket);
          self->wait(id);
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
      if (!sockets.contains(id) || !got.more) break;
    }
    if (!closed) on_batch_end();
  }

  void count(Socket& socket, const UdpReader::Result& got) {
    ++counters.receive_calls;
    counters.datagrams_in += got.datagrams;
    counters.bytes_in += got.bytes;
    if (got.overflow)
      counters.receive_dropped += *got.overflow - std::exchange(socket.overflow, *got.overflow);
  }

  // What the receive thread has read.
  void unload() {
    const auto keep = shared_from_this();
    for (int turn = 0; turn < kReadsPerTurn && !closed; ++turn) {
      auto haul = receive_thread->take();
      if (!haul) return on_batch_end();
      const auto found = sockets.find(haul->socket);
      if (found != sockets.end()) count(*found->second, haul->result);
      const Instant at = now();
      for (const auto& item : haul->items) {
        if (!sockets.contains(haul->socket)) break;  // closed, perhaps by the datagram before
        on_datagram(haul->socket, item.from, item.datagram, at, item.ahead);
      }
      if (!closed) receive_thread->give_back(std::move(haul));
    }
    if (closed) return;
    on_batch_end();
    asio::post(executor, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->unload();
    });
  }

  void start_threads() {
    if (offload.receive_thread)
      receive_thread = std::make_unique<UdpReceiveThread>([executor = executor, weak = weak_from_this()] {
        asio::post(executor, [weak] {
          if (const auto self = weak.lock()) self->unload();
        });
      });
    if (offload.send_thread)
      send_thread = std::make_unique<UdpSendThread>([executor = executor, weak = weak_from_this()] {
        asio::post(executor, [weak] {
          const auto self = weak.lock();
          if (!self || self->closed) return;
          self->flush();
          self->tell();
          self->on_batch_end();
        });
      });
  }

  ByteSpan room() {
    collect();
    if (send_thread && !send_thread->spare()) return {};  // send() may need another one
    return parcel->batch.room();
  }

  bool fits(path::SocketId id, const Endpoint& to, std::size_t size, std::uint8_t ttl) const {
    if (parcel->batch.empty()) return true;
    return id == parcel->id && to == parcel->to && ttl == 0 && parcel->ttl == 0 && parcel->batch.fits(size);
  }

  void send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl, bulk::Seal seal) {
    if (!fits(id, to, datagram.size(), ttl) && !flush(datagram)) {
      ++counters.send_dropped;  // who asks for room() first does not come here
      return;
    }
    parcel->id = id;
    parcel->to = to;
    parcel->ttl = ttl;
    parcel->batch.add(datagram, std::move(seal));
  }

  // False: the send thread has all the memory there is; it calls again when it has not. `next`: a datagram
  // that waits in the batch's room.
  bool flush(ByteView next = {}) {
    if (parcel->batch.empty()) return true;
    const auto it = sockets.find(parcel->id);
    if (it == sockets.end()) {
      parcel->clear(next);
      return true;
    }
    parcel->socket = it->second->own;
    parcel->by_kernel = offload.segment;
    parcel->is_v6 = it->second->is_v6;
    collect();
    // Never past what the thread still has: a packet that overtakes looks like a lost one, and a key is used
    // on one thread at a time.
    if (send_thread && (parcel->batch.count() >= kWorthAThread || !send_thread->idle())) {
      if (!send_thread->spare()) return false;
      collect();
      auto leaving = std::exchange(parcel, send_thread->take());
      send_thread->post(std::move(leaving));  // `next` stays behind what is sent of it until collect()
      return true;
    }
    parcel->leave();
    account(*parcel);
    parcel->clear(next);
    return true;
  }

  void collect() {
    if (send_thread) send_thread->collect([this](const UdpParcel& left) { account(left); });
  }

  void account(const UdpParcel& left) {
    counters.send_calls += left.send_calls;
    counters.bytes_out += left.bytes_out;
    if (left.cannot_segment) offload.segment = false;
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
  OnDatagram on_datagram;
  OnBatchEnd on_batch_end;
  OnRefused on_refused;
  OnTooBig on_too_big;
  std::map<path::SocketId, std::shared_ptr<Socket>> sockets;
  std::unique_ptr<UdpReader> reader;                                  // without a receive thread
  std::unique_ptr<UdpParcel> parcel = std::make_unique<UdpParcel>();  // being filled
  std::unique_ptr<UdpSendThread> send_thread;
  std::unique_ptr<UdpReceiveThread> receive_thread;
  // While the receive thread listens the loop has something to wait for, as it has without.
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
  if (!offload.receive_thread) impl_->reader = std::make_unique<UdpReader>();
  impl_->start_threads();
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
  set(fd.get(), SOL_SOCKET, SO_RCVBUF, kBufferBytes);
  set(fd.get(), SOL_SOCKET, SO_SNDBUF, kBufferBytes);
  set(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBufferBytes);  // beyond the system's limit, with privileges
  set(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, kBufferBytes);
  set(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, 1);
  if (impl_->offload.coalesce) set(fd.get(), SOL_UDP, UDP_GRO, 1);
  std::uint64_t& smallest = impl_->counters.receive_buffer_bytes;
  const std::uint64_t given = receive_buffer_of(fd.get());
  smallest = smallest == 0 ? given : std::min(smallest, given);
  never_fragment(fd, is_v6);
  const std::uint16_t port = bound_endpoint(fd).port;
  const auto socket = std::make_shared<Socket>(impl_->executor, std::move(fd), is_v6);
  if (!*socket->own) return std::nullopt;
  impl_->sockets[id] = socket;
  if (impl_->receive_thread) {
    impl_->receive_thread->add(id, socket->own);
    impl_->listening.emplace(impl_->executor);
  } else {
    impl_->wait(id);
  }
  return port;
}

void UdpSockets::close(path::SocketId id) {
  if (impl_->parcel->id == id) impl_->flush();
  const auto it = impl_->sockets.find(id);
  if (it == impl_->sockets.end()) return;
  if (impl_->receive_thread) impl_->receive_thread->remove(id);
  it->second->descriptor.close();  // its pending wait holds it otherwise
  impl_->sockets.erase(it);
  if (impl_->sockets.empty()) impl_->listening.reset();
}

void UdpSockets::close_all() {
  impl_->closed = true;
  impl_->send_thread.reset();  // sends what it has
  impl_->flush();              // and what it had no hands for
  impl_->receive_thread.reset();
  impl_->listening.reset();
  for (const auto& [id, socket] : impl_->sockets) socket->descriptor.close();
  impl_->sockets.clear();
}

ByteSpan UdpSockets::room() {
  return impl_->room();
}

void UdpSockets::send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl,
                      bulk::Seal seal) {
  impl_->send(id, to, datagram, ttl, std::move(seal));
}

void UdpSockets::flush() {
  impl_->flush();
  impl_->tell();
}

void UdpSockets::use(std::shared_ptr<bulk::AheadOpener> opener) {
  if (impl_->receive_thread) impl_->receive_thread->use(std::move(opener));
}

const UdpCounters& UdpSockets::counters() const {
  impl_->collect();
  return impl_->counters;
}

}  // namespace dh::io
