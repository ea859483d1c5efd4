#include "io/udp_sockets.hh"

#include <array>
#include <cerrno>
#include <vector>

#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/listen_socket.hh"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace dh::io {
namespace {

constexpr std::size_t kBatch = 64;           // datagrams per receive call
constexpr std::size_t kReceiveBytes = 2048;  // more than any datagram we send over UDP
constexpr std::size_t kMaxSegments = 44;     // of one send call; the kernel takes 64, and 64 KiB in all
constexpr std::size_t kMaxSendBytes = 60'000;
constexpr int kBatchesPerTurn = 4;     // then other work gets its turn
constexpr int kBufferBytes = 4 << 20;  // asked for; the system may give less

struct Socket {
  Socket(asio::any_io_executor executor, int fd, bool v6) : descriptor(std::move(executor), fd), is_v6(v6) {}
  asio::posix::stream_descriptor descriptor;
  bool is_v6;
};

}  // namespace

struct UdpSockets::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor executor_in, OnDatagram datagram, OnBatchEnd end, OnRefused refused_in)
      : executor(std::move(executor_in)),
        on_datagram(std::move(datagram)),
        on_batch_end(std::move(end)),
        on_refused(std::move(refused_in)),
        buffer(kBatch * kReceiveBytes) {}

  void wait(path::SocketId id) {
    const auto it = sockets.find(id);
    if (it == sockets.end()) return;
    it->second->descriptor.async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this(), id, socket = it->second](boost::system::error_code error) {
          const auto now = self->sockets.find(id);
          if (error || now == self->sockets.end() || now->second != socket) return;
          self->receive(id, *socket);
          self->wait(id);
        });
  }

  void receive(path::SocketId id, Socket& socket) {
    const auto keep = shared_from_this();
    for (int turn = 0; turn < kBatchesPerTurn; ++turn) {
      std::array<mmsghdr, kBatch> messages{};
      std::array<iovec, kBatch> parts;
      std::array<sockaddr_storage, kBatch> sources;
      for (std::size_t i = 0; i < kBatch; ++i) {
        parts[i] = {buffer.data() + i * kReceiveBytes, kReceiveBytes};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &sources[i];
        messages[i].msg_hdr.msg_namelen = sizeof sources[i];
      }
      const int got =
          ::recvmmsg(socket.descriptor.native_handle(), messages.data(), kBatch, MSG_DONTWAIT, nullptr);
      if (got <= 0) break;  // nothing more, or an ICMP error about something sent earlier
      ++counters.receive_calls;
      for (int i = 0; i < got; ++i) {
        const std::size_t n = static_cast<std::size_t>(i);
        if ((messages[n].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;  // none of ours is so long
        const std::size_t size = messages[n].msg_len;
        ++counters.datagrams_in;
        counters.bytes_in += size;
        on_datagram(id, SocketAddress::to_endpoint(sources[n]),
                    ByteSpan(buffer).subspan(n * kReceiveBytes, size));
      }
      if (!sockets.contains(id) || got < static_cast<int>(kBatch)) break;
    }
    on_batch_end();
  }

  // The queue: `count` datagrams of `segment` bytes each, the last may be shorter.
  bool fits(path::SocketId id, const Endpoint& to, std::size_t size, std::uint8_t ttl) const {
    return count > 0 && id == queued_socket && to == queued_to && ttl == 0 && queued_ttl == 0 &&
           can_segment && !last_was_short && size <= segment && count < kMaxSegments &&
           queue.size() + size <= kMaxSendBytes;
  }

  void send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl) {
    if (!fits(id, to, datagram.size(), ttl)) {
      flush();
      queued_socket = id;
      queued_to = to;
      queued_ttl = ttl;
      segment = datagram.size();
    }
    queue.insert(queue.end(), datagram.begin(), datagram.end());
    last_was_short = datagram.size() < segment;
    ++count;
  }

  void flush() {
    if (count == 0) return;
    const auto it = sockets.find(queued_socket);
    if (it != sockets.end()) {
      const int error = transmit(*it->second, queue, count > 1 ? segment : 0);
      if (error == EIO || error == EINVAL || error == EOPNOTSUPP) {  // this way out cannot segment
        can_segment = can_segment && count <= 1;
        for (std::size_t at = 0; at < queue.size(); at += segment)
          account(transmit(*it->second, ByteView(queue).subspan(at, std::min(segment, queue.size() - at)), 0),
                  1);
      } else {
        account(error, count);
      }
    }
    queue.clear();
    count = 0;
    last_was_short = false;
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
  OnDatagram on_datagram;
  OnBatchEnd on_batch_end;
  OnRefused on_refused;
  std::map<path::SocketId, std::shared_ptr<Socket>> sockets;
  Bytes buffer;
  Bytes queue;
  path::SocketId queued_socket = 0;
  Endpoint queued_to;
  std::uint8_t queued_ttl = 0;
  std::size_t segment = 0, count = 0;
  bool last_was_short = false, can_segment = true;
  std::vector<std::pair<path::SocketId, Endpoint>> refused;
  UdpCounters counters;
};

UdpSockets::UdpSockets(asio::any_io_executor executor, OnDatagram on_datagram, OnBatchEnd on_batch_end,
                       OnRefused on_refused)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(on_datagram), std::move(on_batch_end),
                                   std::move(on_refused))) {}

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
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof kBufferBytes);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kBufferBytes, sizeof kBufferBytes);
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
  impl_->count = 0;
  impl_->queue.clear();
  for (const auto& [id, socket] : impl_->sockets) socket->descriptor.close();
  impl_->sockets.clear();
}

void UdpSockets::send(path::SocketId id, const Endpoint& to, ByteView datagram, std::uint8_t ttl) {
  impl_->send(id, to, datagram, ttl);
}

void UdpSockets::flush() {
  impl_->flush();
  const auto refused = std::exchange(impl_->refused, {});
  for (const auto& [id, to] : refused) impl_->on_refused(id, to);
}

const UdpCounters& UdpSockets::counters() const {
  return impl_->counters;
}

}  // namespace dh::io
