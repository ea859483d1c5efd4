#include "io/udp_sockets.hh"

#include <cerrno>
#include <utility>
#include <vector>

#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/udp_batch.hh"
#include "io/udp_reader.hh"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace dh::io {
namespace {

constexpr int kReadsPerTurn = 4;  // then other work gets its turn

struct Socket {
  Socket(asio::any_io_executor executor, int fd, bool v6) : descriptor(std::move(executor), fd), is_v6(v6) {}
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
      on_datagram(id, from, datagram, *at);
    };
    for (int turn = 0; turn < kReadsPerTurn; ++turn) {
      at.reset();
      const UdpReader::Result got = reader.read(socket.descriptor.native_handle(), forward);
      if (got.datagrams == 0) break;
      ++counters.receive_calls;
      counters.datagrams_in += got.datagrams;
      counters.bytes_in += got.bytes;
      if (got.overflow)
        counters.receive_dropped += *got.overflow - std::exchange(socket.overflow, *got.overflow);
      if (!sockets.contains(id) || !got.more) break;
    }
    on_batch_end();
  }

  bool fits(path::SocketId id, const Endpoint& to, std::size_t size, std::uint8_t ttl) const {
    if (batch.empty()) return true;
    return id == queued_socket && to == queued_to && ttl == 0 && queued_ttl == 0 && offload.segment &&
           batch.fits(size);
  }

  void send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl) {
    if (!fits(id, to, datagram.size(), ttl)) flush(datagram);
    queued_socket = id;
    queued_to = to;
    queued_ttl = ttl;
    batch.add(datagram);
  }

  // `next`: a datagram that waits in the batch's room.
  void flush(ByteView next = {}) {
    if (batch.empty()) return;
    const auto it = sockets.find(queued_socket);
    if (it != sockets.end()) {
      const std::size_t segment = batch.segment_bytes();
      const int error = transmit(*it->second, batch.bytes(), batch.count() > 1 ? segment : 0);
      const bool whole = error == EIO || error == EINVAL || error == EOPNOTSUPP || error == EMSGSIZE;
      if (whole && batch.count() > 1) {  // this way out cannot segment, or not into such pieces
        bool fitted = true;
        for (ByteView rest = batch.bytes(); !rest.empty();
             rest = rest.subspan(std::min(segment, rest.size()))) {
          const int alone = transmit(*it->second, rest.first(std::min(segment, rest.size())), 0);
          fitted = fitted && alone != EMSGSIZE;
          account(alone, 1);
        }
        if (fitted) offload.segment = false;
      } else {
        account(error, batch.count());
      }
    }
    batch.clear(next);
  }

  void account(int error, std::size_t datagrams) {
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
        if (too_big.empty() || too_big.back().to != queued_to || too_big.back().size != batch.segment_bytes())
          too_big.push_back({queued_socket, queued_to, batch.segment_bytes()});
        return;
      case ENETUNREACH:
      case EHOSTUNREACH:
      case EADDRNOTAVAIL:
      case EACCES:
      case EPERM:
      case ENETDOWN:
        counters.send_refused += datagrams;
        refused.push_back({queued_socket, queued_to});
        return;
      default:
        counters.send_dropped += datagrams;
        return;
    }
  }

  // 0 or errno. `segment_bytes`: 0 sends one datagram.
  int transmit(Socket& socket, ByteView bytes, std::size_t segment_bytes) {
    const SocketAddress address = SocketAddress::from(queued_to);
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[64] = {};
    msghdr message{};
    message.msg_name = const_cast<sockaddr*>(address.data());
    message.msg_namelen = address.size;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (segment_bytes != 0 || queued_ttl != 0) {
      message.msg_control = control;
      message.msg_controllen =
          segment_bytes != 0 ? CMSG_SPACE(sizeof(std::uint16_t)) : CMSG_SPACE(sizeof(int));
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      if (segment_bytes != 0) {
        const auto value = static_cast<std::uint16_t>(segment_bytes);
        head->cmsg_level = SOL_UDP;
        head->cmsg_type = UDP_SEGMENT;
        head->cmsg_len = CMSG_LEN(sizeof value);
        std::memcpy(CMSG_DATA(head), &value, sizeof value);
      } else {
        const int hops = queued_ttl;
        head->cmsg_level = socket.is_v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP};
        head->cmsg_type = socket.is_v6 ? IPV6_HOPLIMIT : IP_TTL;
        head->cmsg_len = CMSG_LEN(sizeof hops);
        std::memcpy(CMSG_DATA(head), &hops, sizeof hops);
      }
    }
    ++counters.send_calls;
    // An error may be an old one of the socket (ICMP): then the second call sends.
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (::sendmsg(socket.descriptor.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        counters.bytes_out += bytes.size();
        return 0;
      }
      if (errno != ECONNREFUSED) break;
    }
    return errno;
  }

  asio::any_io_executor executor;
  UdpOffload offload;
  OnDatagram on_datagram;
  OnBatchEnd on_batch_end;
  OnRefused on_refused;
  OnTooBig on_too_big;
  std::map<path::SocketId, std::shared_ptr<Socket>> sockets;
  UdpReader reader;
  UdpBatch batch;
  path::SocketId queued_socket = 0;
  Endpoint queued_to;
  std::uint8_t queued_ttl = 0;
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
                                   std::move(on_batch_end), std::move(on_refused), std::move(on_too_big))) {}

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
  impl_->sockets[id] = std::make_shared<Socket>(impl_->executor, fd.release(), is_v6);
  impl_->wait(id);
  return port;
}

void UdpSockets::close(path::SocketId id) {
  if (impl_->queued_socket == id) impl_->flush();
  const auto it = impl_->sockets.find(id);
  if (it == impl_->sockets.end()) return;
  it->second->descriptor.close();  // its pending wait holds it otherwise
  impl_->sockets.erase(it);
}

void UdpSockets::close_all() {
  impl_->batch.clear();
  for (const auto& [id, socket] : impl_->sockets) socket->descriptor.close();
  impl_->sockets.clear();
}

ByteSpan UdpSockets::room() {
  return impl_->batch.room();
}

void UdpSockets::send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl) {
  impl_->send(id, to, datagram, ttl);
}

void UdpSockets::flush() {
  impl_->flush();
  const auto refused = std::exchange(impl_->refused, {});
  for (const auto& [id, to] : refused) impl_->on_refused(id, to);
  const auto too_big = std::exchange(impl_->too_big, {});
  for (const auto& [id, to, size] : too_big) impl_->on_too_big(id, to, size);
}

const UdpCounters& UdpSockets::counters() const {
  return impl_->counters;
}

}  // namespace dh::io
