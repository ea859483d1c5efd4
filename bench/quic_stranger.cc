// A stranger at the UDP port of a share or an opener: bench_quic_stranger ADDRESS PORT RATE SECONDS
// First a QUIC client that knows no key tries for a second, as one who saw nothing of the tunnel must: with a
// key and a connection id of its own. Then RATE datagrams a second: real Initial packets under many ids,
// Initial packets of noise, short headers with a random receiver, and noise. Prints what was sent and what
// came back, as JSON. 0: nothing came back.

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/keys.hh"
#include "io/clock.hh"
#include "io/system_rng.hh"
#include "quic/connection.hh"

namespace {

using namespace dh;
using namespace std::chrono_literals;

constexpr std::size_t kInitialBytes = 1200;
constexpr std::size_t kClients = 64;  // real Initial packets to choose from
constexpr Duration kTick = 2ms;

quic::Connection make_client(Rng& rng) {
  quic::Config config;
  rng.fill(config.psk.expose_mutable());
  rng.fill(config.first_connection_id);
  return {config, io::now(), rng};
}

struct Stranger {
  int fd = -1;
  std::uint64_t sent = 0, replies = 0;

  void send(ByteView bytes) {
    if (::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) >= 0) ++sent;
  }
  void count_replies() {
    std::array<char, 65'536> in;
    while (::recv(fd, in.data(), in.size(), MSG_DONTWAIT) >= 0) ++replies;
  }
};

void pause_for(Duration wait) {
  const timespec time{0, static_cast<long>(wait.count())};
  ::nanosleep(&time, nullptr);
}

void try_handshake(Stranger& stranger, Rng& rng) {
  quic::Connection client = make_client(rng);
  Bytes out(quic::kMaxDatagramBytes);
  for (const Instant end = io::now() + 1s; io::now() < end; pause_for(kTick)) {
    client.on_timeout(io::now());
    while (const auto size = client.poll_transmit(out, io::now())) stranger.send(ByteView(out).first(*size));
    stranger.count_replies();
  }
}

std::vector<Bytes> real_initials(Rng& rng) {
  std::vector<Bytes> out;
  for (std::size_t i = 0; i < kClients; ++i) {
    quic::Connection client = make_client(rng);
    Bytes packet(quic::kMaxDatagramBytes);
    const auto size = client.poll_transmit(packet, io::now());
    packet.resize(size.value_or(0));
    out.push_back(std::move(packet));
  }
  return out;
}

void flood(Stranger& stranger, Rng& rng, double rate, double seconds) {
  const std::vector<Bytes> real = real_initials(rng);
  Bytes noise(kInitialBytes);
  rng.fill(noise);
  const Instant begun = io::now();
  for (std::uint64_t made = 0; to_seconds(io::now() - begun) < seconds; pause_for(kTick)) {
    for (const double due = rate * to_seconds(io::now() - begun); static_cast<double>(made) < due; ++made) {
      Bytes head(24);
      rng.fill(head);
      switch (made % 4) {
        case 0:
          stranger.send(real[made / 4 % real.size()]);
          continue;
        case 1:  // version 1, an id of 16 bytes
          head[0] = std::byte{0xc3};
          head[1] = head[2] = head[3] = std::byte{0};
          head[4] = std::byte{1};
          head[5] = std::byte{16};
          break;
        case 2:
          head[0] = std::byte{0x43};
          break;
        default:
          break;
      }
      std::copy(head.begin(), head.end(), noise.begin());
      stranger.send(noise);
    }
    stranger.count_replies();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: quic_stranger ADDRESS PORT RATE SECONDS\n");
    return 2;
  }
  crypto_init();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  Stranger stranger{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (::inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || stranger.fd < 0 ||
      ::connect(stranger.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    std::perror("quic_stranger");
    return 2;
  }
  io::SystemRng rng;
  try_handshake(stranger, rng);
  flood(stranger, rng, std::strtod(argv[3], nullptr), std::strtod(argv[4], nullptr));
  pause_for(200ms);
  stranger.count_replies();
  ::close(stranger.fd);
  fmt::print("{{\"sent\":{},\"replies\":{}}}\n", stranger.sent, stranger.replies);
  return stranger.replies == 0 ? 0 : 1;
}
