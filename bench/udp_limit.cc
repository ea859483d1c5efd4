// What UDP itself allows: segments of 1,400 bytes, 44 per send (UDP_SEGMENT), received merged (UDP_GRO), with
// a memcpy in the place of the cipher on both sides. Connected sockets, one thread a side, no
// acknowledgements and no pacing: what the receiver is too slow for is lost, and counted.
//   bench_udp_limit receive ADDR PORT          prints one JSON line when nothing came for half a second
//   bench_udp_limit send ADDR PORT SECONDS     sends for so long; prints one JSON line

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace {

constexpr int kSegment = 1400;         // bytes of a datagram
constexpr std::size_t kSegments = 44;  // 61,600 bytes: below the 64 KiB of one send
constexpr std::size_t kReceiveBytes = 65'536;
constexpr int kBufferBytes = 4 << 20;
constexpr double kSilence = 0.5;  // seconds without a datagram: the sender has ended
constexpr double kPatience = 10;  // seconds to wait for its first

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "udp_limit: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double seconds_now() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
}

sockaddr_in address_of(const char* host, const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  if (::inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    errno = EINVAL;
    fail(host);
  }
  return address;
}

int open_socket() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE})  // root; else what the system gives
    ::setsockopt(fd, SOL_SOCKET, option, &kBufferBytes, sizeof kBufferBytes);
  return fd;
}

void send_for(const sockaddr_in& to, double seconds) {
  const int fd = open_socket();
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  if (::setsockopt(fd, SOL_UDP, UDP_SEGMENT, &kSegment, sizeof kSegment) != 0) fail("UDP_SEGMENT");
  const std::vector<char> payload(1 << 20,
                                  'x');  // as if read from a file: larger than the caches near the core
  std::vector<char> burst(kSegment * kSegments);
  std::uint64_t bytes = 0, refused = 0;
  std::size_t at = 0;
  const double start = seconds_now(), end = start + seconds;
  while (seconds_now() < end) {
    for (std::size_t i = 0; i < kSegments; ++i) {
      std::memcpy(burst.data() + i * kSegment, payload.data() + at, kSegment);
      at = at + 2 * kSegment < payload.size() ? at + kSegment : 0;
    }
    if (::send(fd, burst.data(), burst.size(), 0) == static_cast<ssize_t>(burst.size())) {
      bytes += burst.size();
    } else if (errno == ECONNREFUSED || errno == ENOBUFS) {
      ++refused;
    } else {
      fail("send");
    }
  }
  const double took = seconds_now() - start;
  std::printf("{\"bytes\":%llu,\"seconds\":%.6f,\"refused\":%llu}\n", static_cast<unsigned long long>(bytes),
              took, static_cast<unsigned long long>(refused));
}

void set_timeout(int fd, double seconds) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(seconds);
  value.tv_usec = static_cast<suseconds_t>((seconds - static_cast<double>(value.tv_sec)) * 1e6);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value) != 0) fail("SO_RCVTIMEO");
}

void receive(const sockaddr_in& on) {
  const int fd = open_socket();
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&on), sizeof on) != 0) fail("bind");
  const int one = 1;
  if (::setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) != 0) fail("UDP_GRO");
  set_timeout(fd, kPatience);
  std::printf("ready\n");
  std::fflush(stdout);
  std::vector<char> merged(kReceiveBytes), assembled(1 << 20);
  std::uint64_t bytes = 0;
  std::size_t at = 0;
  double first = 0, last = 0;
  for (;;) {
    sockaddr_in from{};
    socklen_t from_size = sizeof from;
    const ssize_t got = bytes == 0 ? ::recvfrom(fd, merged.data(), merged.size(), 0,
                                                reinterpret_cast<sockaddr*>(&from), &from_size)
                                   : ::recv(fd, merged.data(), merged.size(), 0);
    if (got < 0 && errno == ECONNREFUSED) continue;
    if (got < 0) break;  // silence
    if (bytes == 0) {
      if (::connect(fd, reinterpret_cast<const sockaddr*>(&from), from_size) != 0) fail("connect");
      set_timeout(fd, kSilence);
      first = seconds_now();
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); i += kSegment) {
      const std::size_t size = std::min<std::size_t>(kSegment, static_cast<std::size_t>(got) - i);
      std::memcpy(assembled.data() + at, merged.data() + i, size);
      at = at + 2 * kSegment < assembled.size() ? at + kSegment : 0;
    }
    bytes += static_cast<std::uint64_t>(got);
    last = seconds_now();
  }
  std::printf("{\"bytes\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(bytes), last - first);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "receive") == 0) {
    receive(address_of(argv[2], argv[3]));
  } else if (argc == 5 && std::strcmp(argv[1], "send") == 0) {
    send_for(address_of(argv[2], argv[3]), std::atof(argv[4]));
  } else {
    std::fprintf(stderr, "usage: udp_limit receive ADDR PORT | udp_limit send ADDR PORT SECONDS\n");
    return 2;
  }
}
