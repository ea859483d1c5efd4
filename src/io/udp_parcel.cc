#include "io/udp_parcel.hh"

#include <cerrno>

#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/clock.hh"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace dh::io {

void UdpParcel::leave() {
  batch.seal();
  const Duration begun = timed ? thread_cpu_time() : Duration::zero();
  transmit_all();
  if (timed) cost = thread_cpu_time() - begun;
}

void UdpParcel::transmit_all() {
  const std::size_t segment = batch.segment_bytes();
  const bool many = batch.count() > 1;
  if (by_kernel || !many) {
    const int error = transmit(batch.bytes(), many ? segment : 0);
    const bool whole = error == EIO || error == EINVAL || error == EOPNOTSUPP || error == EMSGSIZE;
    if (!whole || !many) {
      outcomes.push_back({error, batch.count()});
      return;
    }
    cannot_segment = true;  // this way out cannot, or not into such pieces
  }
  for (ByteView rest = batch.bytes(); !rest.empty(); rest = rest.subspan(std::min(segment, rest.size()))) {
    const int alone = transmit(rest.first(std::min(segment, rest.size())), 0);
    cannot_segment = cannot_segment && alone != EMSGSIZE;
    if (outcomes.empty() || outcomes.back().error != alone) outcomes.push_back({alone, 0});
    ++outcomes.back().datagrams;
  }
}

void UdpParcel::clear(ByteView kept) {
  batch.clear(kept);
  outcomes.clear();
  socket.reset();
  send_calls = bytes_out = 0;
  cannot_segment = false;
}

// 0 or errno. `segment_bytes`: 0 sends one datagram.
int UdpParcel::transmit(ByteView bytes, std::size_t segment_bytes) {
  const SocketAddress address = SocketAddress::from(to);
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[64] = {};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(address.data());
  message.msg_namelen = address.size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (segment_bytes != 0 || ttl != 0) {
    message.msg_control = control;
    message.msg_controllen = segment_bytes != 0 ? CMSG_SPACE(sizeof(std::uint16_t)) : CMSG_SPACE(sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    if (segment_bytes != 0) {
      const auto value = static_cast<std::uint16_t>(segment_bytes);
      head->cmsg_level = SOL_UDP;
      head->cmsg_type = UDP_SEGMENT;
      head->cmsg_len = CMSG_LEN(sizeof value);
      std::memcpy(CMSG_DATA(head), &value, sizeof value);
    } else {
      const int hops = ttl;
      head->cmsg_level = is_v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP};
      head->cmsg_type = is_v6 ? IPV6_HOPLIMIT : IP_TTL;
      head->cmsg_len = CMSG_LEN(sizeof hops);
      std::memcpy(CMSG_DATA(head), &hops, sizeof hops);
    }
  }
  ++send_calls;
  // An error may be an old one of the socket (ICMP): then the second call sends.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (::sendmsg(socket->get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      bytes_out += bytes.size();
      return 0;
    }
    if (errno != ECONNREFUSED) break;
  }
  return errno;
}

}  // namespace dh::io
