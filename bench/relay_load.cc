// Load for any DERP relay that is ours to load: ours or a local derper. docs: bench/relay.py --help
//
// bench_relay_load TARGET [--pairs N] [--size BYTES] [--seconds S] [--window PACKETS] [--open]
//   TARGET            http://ADDRESS:PORT or https://ADDRESS:PORT (certificate not checked)
//   closed loop       (default) each pair keeps --window packets in flight; a received packet frees one
//   --open            each sender writes as fast as its socket takes; what does not arrive was dropped
// bench_relay_load TARGET --idle N    N logged-in clients that do nothing, until a line on stdin

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "derp/client_core.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/openssl.hh"
#include "io/system_rng.hh"
#include "wire/http_head.hh"

namespace {

using namespace dh;

struct Arguments {
  Endpoint target;
  bool tls = false;
  std::size_t pairs = 1, size = 1400, window = 16, idle = 0;
  double seconds = 3;
  bool open = false;
};

Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::strtod(argv[++i], nullptr) : 0.0; };
    if (word == "--pairs")
      arguments.pairs = static_cast<std::size_t>(number());
    else if (word == "--size")
      arguments.size = static_cast<std::size_t>(number());
    else if (word == "--window")
      arguments.window = static_cast<std::size_t>(number());
    else if (word == "--seconds")
      arguments.seconds = number();
    else if (word == "--idle")
      arguments.idle = static_cast<std::size_t>(number());
    else if (word == "--open")
      arguments.open = true;
    else {
      arguments.tls = word.starts_with("https://");
      word.remove_prefix(std::min(word.size(), word.find("://") + 3));
      const auto endpoint = Endpoint::parse(word);
      if (!endpoint) throw std::runtime_error("not a target: " + std::string(argv[i]));
      arguments.target = *endpoint;
    }
  }
  return arguments;
}

/// One logged-in client on a non-blocking socket.
class Client {
public:
  Client(const Arguments& arguments, SSL_CTX* tls, Rng& rng) : core_(make_config(rng), io::now(), rng) {
    const auto address = io::SocketAddress::from(arguments.target);
    fd_ = io::Fd(
        ::socket(arguments.target.address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd_.get(), address.data(), address.size) != 0) throw std::runtime_error("cannot connect");
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls != nullptr) {
      ssl_.reset(SSL_new(tls));
      SSL_set_fd(ssl_.get(), fd_.get());
      if (SSL_connect(ssl_.get()) != 1) throw std::runtime_error("TLS handshake failed");
    }
    log_in();
    ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
    if (ssl_) SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }

  const PublicKey& key() const { return key_.pub; }
  int fd() const { return fd_.get(); }
  bool room() const { return core_.output().size() < (128u << 10); }
  void send(const PublicKey& to, ByteView packet) { (void)core_.send_packet(to, packet, io::now()); }

  /// Writes what the socket takes; true when something is left.
  bool flush() {
    while (true) {
      const ByteView out = core_.output();
      if (out.empty()) return false;
      const long size = ssl_ ? SSL_write(ssl_.get(), out.data(), static_cast<int>(out.size()))
                             : ::send(fd_.get(), out.data(), out.size(), MSG_NOSIGNAL);
      if (size <= 0) return true;
      core_.consume_output(static_cast<std::size_t>(size));
    }
  }
  /// Reads once (TLS: what is there); returns packets received. Throws when the relay closed.
  std::size_t receive() {
    std::size_t packets = 0;
    while (true) {
      const long size = read(core_.input_space());
      if (size == 0) throw std::runtime_error("the relay closed a connection");
      if (size < 0) return packets;
      core_.on_input(static_cast<std::size_t>(size), io::now());
      while (const auto event = core_.poll_event()) {
        if (std::holds_alternative<derp::PacketReceived>(*event)) ++packets;
        if (std::holds_alternative<derp::ConnectionDead>(*event)) throw std::runtime_error("connection dead");
      }
      if (!ssl_) return packets;
    }
  }
  std::uint32_t watched = 0;

private:
  derp::ClientConfig make_config(Rng& rng) {
    key_ = KeyPair::generate(rng);
    derp::ClientConfig config;
    config.key = key_;
    config.ping_interval = 1h;  // measured traffic only
    return config;
  }
  long read(ByteSpan buffer) {
    if (!ssl_) return ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    const int size = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
    if (size > 0) return size;
    return SSL_get_error(ssl_.get(), size) == SSL_ERROR_WANT_READ ? -1 : 0;
  }
  void write_blocking(ByteView bytes) {
    const long size = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                           : ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size != static_cast<long>(bytes.size())) throw std::runtime_error("login write failed");
  }
  void log_in() {
    write_blocking(
        as_bytes("GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"));
    Bytes head, buffer(4096);
    bool upgraded = false;
    while (true) {
      const long size = read(buffer);
      if (size <= 0) throw std::runtime_error("the relay closed during the login");
      ByteView bytes = ByteView(buffer).first(static_cast<std::size_t>(size));
      if (!upgraded) {
        head.insert(head.end(), bytes.begin(), bytes.end());
        const auto end = http_head_size(head);
        if (!end) continue;
        const auto response = parse_http_response(ByteView(head).first(*end));
        if (!response || response->status != 101) throw std::runtime_error("the relay refused the upgrade");
        upgraded = true;
        bytes = ByteView(head).subspan(*end);
      }
      core_.on_bytes(bytes, io::now());
      bool logged_in = false;
      while (const auto event = core_.poll_event())
        logged_in = logged_in || std::holds_alternative<derp::LoggedIn>(*event);
      if (!core_.output().empty()) write_blocking(core_.output());
      core_.consume_output(core_.output().size());
      if (logged_in) return;
    }
  }

  KeyPair key_;
  derp::ClientCore core_;
  io::Fd fd_;
  io::SslPtr ssl_;
};

struct Pair {
  std::unique_ptr<Client> sender, receiver;
  std::uint64_t sent = 0, received = 0;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void watch(int epoll, Client& client, std::uint64_t tag, bool writing) {
  const std::uint32_t wanted = EPOLLIN | (writing ? EPOLLOUT : 0u);
  if (wanted == client.watched) return;
  epoll_event event{.events = wanted, .data = {.u64 = tag}};
  ::epoll_ctl(epoll, client.watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, client.fd(), &event);
  client.watched = wanted;
}

void run_load(const Arguments& arguments, SSL_CTX* tls, Rng& rng) {
  std::vector<Pair> pairs(arguments.pairs);
  const io::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].sender = std::make_unique<Client>(arguments, tls, rng);
    pairs[i].receiver = std::make_unique<Client>(arguments, tls, rng);
    watch(epoll.get(), *pairs[i].sender, i * 2, false);
    watch(epoll.get(), *pairs[i].receiver, i * 2 + 1, false);
  }
  const Bytes packet(arguments.size, std::byte{0x5a});
  bool sending = true;
  const auto top_up = [&](std::size_t i) {
    Pair& pair = pairs[i];
    while (sending && pair.sender->room() &&
           (arguments.open || pair.sent - pair.received < arguments.window)) {
      pair.sender->send(pair.receiver->key(), packet);
      ++pair.sent;
    }
    watch(epoll.get(), *pair.sender, i * 2, pair.sender->flush());
  };
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::size_t i = 0; i < pairs.size(); ++i) top_up(i);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  std::uint64_t in_time = 0;
  while (true) {
    epoll_event events[256];
    const int count = ::epoll_wait(epoll.get(), events, 256, 200);
    for (int n = 0; n < count; ++n) {
      const std::size_t i = events[n].data.u64 / 2;
      const bool is_receiver = events[n].data.u64 % 2 == 1;
      Client& client = is_receiver ? *pairs[i].receiver : *pairs[i].sender;
      if ((events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) pairs[i].received += client.receive();
      top_up(i);
    }
    if (sending && seconds_since(start) >= arguments.seconds) {
      sending = false;
      elapsed = seconds_since(start);
      for (const Pair& pair : pairs) in_time += pair.received;
    }
    if (!sending && (count == 0 || seconds_since(start) > arguments.seconds + 5)) break;
  }
  std::uint64_t sent = 0, received = 0;
  for (const Pair& pair : pairs) sent += pair.sent, received += pair.received;
  const double rate = static_cast<double>(in_time) / elapsed;
  std::printf("received %llu sent %llu dropped %llu packets_per_s %.0f gbit_per_s %.3f\n",
              static_cast<unsigned long long>(received), static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(sent - received), rate,
              rate * static_cast<double>(arguments.size) * 8 / 1e9);
}

}  // namespace

int main(int argc, char** argv) try {
  crypto_init();
  const Arguments arguments = parse_arguments(argc, argv);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  io::SystemRng rng;
  io::SslContextPtr tls(arguments.tls ? SSL_CTX_new(TLS_client_method()) : nullptr);
  if (arguments.idle == 0) {
    run_load(arguments, tls.get(), rng);
    return 0;
  }
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < arguments.idle; ++i)
    clients.push_back(std::make_unique<Client>(arguments, tls.get(), rng));
  std::printf("ready\n");
  std::fflush(stdout);
  (void)std::getchar();
} catch (const std::exception& error) {
  std::fprintf(stderr, "relay_load: %s\n", error.what());
  return 1;
}
