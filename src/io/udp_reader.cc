#include "io/udp_reader.hh"

#include <algorithm>
#include <cstring>

#include <netinet/udp.h>

#include "io/listen_socket.hh"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace dh::io {
namespace {

struct Ancillary {
  std::size_t segment = 0;  // 0: the message is one datagram
  std::optional<std::uint32_t> overflow;
};

template <class T>
T value_of(const cmsghdr* head) {
  T value;
  std::memcpy(&value, CMSG_DATA(head), sizeof value);
  return value;
}

Ancillary read_ancillary(msghdr& message) {
  Ancillary out;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level == SOL_UDP && head->cmsg_type == UDP_GRO) {
      const int size = value_of<int>(head);
      if (size > 0) out.segment = static_cast<std::size_t>(size);
    } else if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SO_RXQ_OVFL) {
      out.overflow = value_of<std::uint32_t>(head);
    }
  }
  return out;
}

}  // namespace

UdpReader::UdpReader() : buffer_(kMessages * kMessageBytes) {
  for (std::size_t i = 0; i < kMessages; ++i) {
    parts_[i] = {buffer_.data() + i * kMessageBytes, kMessageBytes};
    messages_[i].msg_hdr.msg_iov = &parts_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &sources_[i];
    messages_[i].msg_hdr.msg_control = &controls_[i];
  }
}

UdpReader::Result UdpReader::read(int fd, const OnDatagram& on_datagram) {
  for (mmsghdr& message : messages_) {  // the last call shortened them
    message.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    message.msg_hdr.msg_controllen = sizeof(Control);
  }
  Result result;
  const int got = ::recvmmsg(fd, messages_.data(), kMessages, MSG_DONTWAIT, nullptr);
  if (got <= 0) return result;
  result.messages = static_cast<std::size_t>(got);
  result.more = got == static_cast<int>(kMessages);
  for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
    msghdr& message = messages_[i].msg_hdr;
    const Ancillary ancillary = read_ancillary(message);
    if (ancillary.overflow) result.overflow = ancillary.overflow;
    ByteSpan rest = ByteSpan(buffer_).subspan(i * kMessageBytes, messages_[i].msg_len);
    result.bytes += rest.size();
    const Endpoint from = SocketAddress::to_endpoint(sources_[i]);
    do {
      const std::size_t size =
          ancillary.segment == 0 ? rest.size() : std::min(ancillary.segment, rest.size());
      ++result.datagrams;
      on_datagram(from, rest.first(size));
      rest = rest.subspan(size);
    } while (!rest.empty());
  }
  return result;
}

}  // namespace dh::io
