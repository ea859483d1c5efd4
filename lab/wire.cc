// lab_wire: a link between two network namespaces, made of two TUN devices and a model of what links do
// (link_model.hh). The kernel part of this (netem) is not in every kernel; this needs root and /dev/net/tun
// only.
//
//   lab_wire --a NAMESPACE:DEVICE --b NAMESPACE:DEVICE [--seed N]
//
// Prints `ready` when both devices are there, unnumbered and down. Then reads the control language of
// wire_command.hh from stdin, one answer a line: `ok`, `error: ...`, or the counters as JSON. Ends at the end
// of stdin, with its devices, after printing the counters once more.

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <system_error>
#include <unistd.h>

#include "lab/link_model.hh"
#include "lab/wire_command.hh"

namespace dh::lab {
namespace {

constexpr int kPacketsPerTurn = 128;        // of one end, before the other one has its turn
constexpr std::size_t kMaxPacket = 65'536;  // an IP packet is shorter
constexpr std::size_t kMaxLine = 4096;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class File {
public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  File& operator=(File&&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

private:
  int fd_;
};

File open_file(const std::string& path, int flags) {
  File file(::open(path.c_str(), flags | O_CLOEXEC));
  if (file.fd() < 0) fail(path);
  return file;
}

/// One end: a TUN device in a namespace, gone when this is.
File open_tun(std::string_view where) {
  const auto colon = where.find(':');
  if (colon == std::string_view::npos || where.size() - colon - 1 >= IFNAMSIZ || colon + 1 == where.size())
    throw std::runtime_error(fmt::format("'{}' is not NAMESPACE:DEVICE", where));
  const File home = open_file("/proc/self/ns/net", O_RDONLY);
  const File there = open_file(fmt::format("/run/netns/{}", where.substr(0, colon)), O_RDONLY);
  if (::setns(there.fd(), CLONE_NEWNET) != 0) fail(fmt::format("entering {}", where));
  File tun = open_file("/dev/net/tun", O_RDWR | O_NONBLOCK);
  ifreq request{};
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL);
  where.substr(colon + 1).copy(request.ifr_name, IFNAMSIZ - 1);
  const int made = ::ioctl(tun.fd(), TUNSETIFF, &request);
  const int error = errno;
  if (::setns(home.fd(), CLONE_NEWNET) != 0) fail("coming back from a namespace");
  errno = error;
  if (made != 0) fail(fmt::format("making the device {}", where));
  return tun;
}

Instant now() {
  return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

/// Both directions and their devices.
class Wire {
public:
  Wire(File a, File b, std::uint64_t seed)
      : ends_{std::move(a), std::move(b)}, links_{Link(seed), Link(seed + 1)} {}

  /// Serves until the end of stdin or a signal.
  void run() {
    std::array<pollfd, 3> waits{
        {{ends_[0].fd(), POLLIN, 0}, {ends_[1].fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    sigset_t unblocked;
    sigemptyset(&unblocked);
    while (!stopped_) {
      const auto next = earlier(links_[0].next_timeout(), links_[1].next_timeout());
      std::optional<timespec> wait;
      if (next) {
        const auto left = std::max(Duration::zero(), *next - now());
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
        wait = timespec{seconds.count(), (left - seconds).count()};
      }
      const int ready = ::ppoll(waits.data(), waits.size(), wait ? &*wait : nullptr, &unblocked);
      if (ready < 0 && errno != EINTR) fail("waiting");
      if (ready < 0) break;  // a signal: end as if stdin had
      for (std::size_t from : {0UZ, 1UZ}) {
        if (waits[from].revents & (POLLIN | POLLERR | POLLHUP)) take(from);
        deliver(from);
      }
      if (waits[2].revents & (POLLIN | POLLERR | POLLHUP)) control();
    }
    print_stats();
  }

private:
  void take(std::size_t from) {
    for (int count = 0; count < kPacketsPerTurn; ++count) {
      const ssize_t size = ::read(ends_[from].fd(), packet_.data(), packet_.size());
      if (size < 0 && errno == EBADFD) stopped_ = true;  // the namespace is gone, and its device with it
      if (size <= 0) return;                             // nothing more for now
      links_[from].on_packet(ByteView(packet_).first(static_cast<std::size_t>(size)), now());
    }
  }

  void deliver(std::size_t from) {
    const Instant at = now();
    while (const auto packet = links_[from].poll_packet(at)) {
      const ssize_t written = ::write(ends_[1 - from].fd(), packet->data(), packet->size());
      if (written < 0) ++undeliverable_[from];  // EIO: the device there is down
    }
  }

  void control() {
    std::array<char, kMaxLine> chunk{};
    const ssize_t size = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (size <= 0) {
      stopped_ = true;
      return;
    }
    input_.append(chunk.data(), static_cast<std::size_t>(size));
    for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      obey(std::string_view(input_).substr(0, end));
      input_.erase(0, end + 1);
    }
    if (input_.size() > kMaxLine) throw std::runtime_error("a line of control is too long");
  }

  void obey(std::string_view line) {
    const auto reply = apply_command(line, settings_);
    if (!reply) {
      say(fmt::format("error: {}", reply.error()));
      return;
    }
    links_[0].configure(settings_.ab);
    links_[1].configure(settings_.ba);
    if (*reply == WireReply::Stats) {
      print_stats();
    } else {
      say("ok");
    }
  }

  void print_stats() const {
    say(fmt::format(
        R"({{"ab":{},"ba":{},"undeliverable":[{},{}]}})", to_json(links_[0].counters(), links_[0].waiting()),
        to_json(links_[1].counters(), links_[1].waiting()), undeliverable_[0], undeliverable_[1]));
  }

  static void say(const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }

  std::array<File, 2> ends_;
  std::array<Link, 2> links_;  // by where packets come from: ab, ba
  std::array<std::uint64_t, 2> undeliverable_{};
  WireSettings settings_;
  ByteArray<kMaxPacket> packet_{};
  std::string input_;
  bool stopped_ = false;
};

int run(int argc, char** argv) {
  std::string_view a, b;
  std::uint64_t seed = 1;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    const std::string_view value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--a") {
      a = value;
    } else if (flag == "--b") {
      b = value;
    } else if (flag != "--seed" ||
               std::from_chars(value.data(), value.data() + value.size(), seed).ec != std::errc()) {
      a = {};
      break;
    }
  }
  if (a.empty() || b.empty()) {
    fmt::print(stderr, "usage: lab_wire --a NAMESPACE:DEVICE --b NAMESPACE:DEVICE [--seed N]\n");
    return 2;
  }
  // Blocked but for the moments of waiting, so that a signal ends a turn and not a packet.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM}) {
    sigaddset(&signals, number);
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(number, &action, nullptr);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds: the default of 50 us would be most of a short delay
  File first = open_tun(a);
  Wire wire(std::move(first), open_tun(b), seed);
  fmt::print("ready\n");
  std::fflush(stdout);
  wire.run();
  return 0;
}

}  // namespace
}  // namespace dh::lab

int main(int argc, char** argv) {
  try {
    return dh::lab::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "lab_wire: {}\n", error.what());
    return 1;
  }
}
