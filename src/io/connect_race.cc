#include "io/connect_race.hh"

#include <algorithm>
#include <memory>
#include <optional>

#include <fcntl.h>
#include <netinet/tcp.h>

#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

using asio::ip::tcp;

constexpr std::size_t kMaxPerFamily = 4;     // what can start within a dial of 10 s, with room
constexpr int kNotSentLowat = 128 << 10;     // bytes the kernel may hold unsent: keeps our queue the queue
constexpr unsigned kUserTimeoutMs = 15'000;  // unacknowledged data for that long ends the connection
constexpr int kKeepIdle = 30, kKeepInterval = 10, kKeepCount = 3;  // s, s, probes

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);  // best effort: the connection works without
}

void tune(tcp::socket& socket) {
  const int fd = socket.native_handle();
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);  // not for the programs we start
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kNotSentLowat);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(kUserTimeoutMs));
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdle);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepInterval);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepCount);
}

// One race. Shared by the waiting coroutine and the handlers of its sockets and timers.
class Race : public std::enable_shared_from_this<Race> {
public:
  Race(const asio::any_io_executor& executor, RaceOptions options)
      : executor_(executor), options_(options), done_(executor), lanes_{Lane(executor), Lane(executor)} {}

  void start(const std::vector<IpAddress>& addresses, std::uint16_t port) {
    for (const IpAddress& address : addresses) {
      auto& waiting = lanes_[address.is_v6() ? 1 : 0].waiting;
      if (waiting.size() < kMaxPerFamily) waiting.emplace_back(to_asio(address), port);
    }
    const bool stagger = options_.prefer_ipv6 && !lanes_[1].waiting.empty();
    start_next(1);
    if (stagger)
      start_later(0, options_.family_stagger);
    else
      start_next(0);
    finish_if_nothing_left();
  }

  bool finished() const { return finished_; }
  asio::steady_timer& done() { return done_; }
  std::optional<tcp::socket> take_winner() { return std::move(winner_); }

  std::string report() const {
    std::string text;
    for (const Attempt& attempt : attempts_) {
      if (!text.empty()) text += "; ";
      text += attempt.name + ": " + (attempt.error ? attempt.error.message() : "no answer");
    }
    return text.empty() ? "no address to try" : text;
  }

  // Closes what is still trying. Handlers that come later see it and do nothing.
  void finish() {
    if (finished_) return;
    finished_ = true;
    for (Lane& lane : lanes_) lane.timer.cancel();
    for (Attempt& attempt : attempts_) attempt.socket->close(ignored_);
    done_.cancel();
  }

private:
  struct Attempt {
    std::string name;
    std::unique_ptr<tcp::socket> socket;
    error_code error;
    bool failed = false;
  };
  struct Lane {
    explicit Lane(const asio::any_io_executor& executor) : timer(executor) {}
    std::vector<tcp::endpoint> waiting;
    std::size_t next = 0;
    std::size_t newest = 0;  // index of its latest attempt
    asio::steady_timer timer;
  };

  void start_later(std::size_t which, Duration delay) {
    lanes_[which].timer.expires_after(delay);
    lanes_[which].timer.async_wait([self = shared_from_this(), which](const error_code& ec) {
      if (!ec && !self->finished_) self->start_next(which);
    });
  }

  void start_next(std::size_t which) {
    Lane& lane = lanes_[which];
    if (lane.next == lane.waiting.size()) return;
    const tcp::endpoint endpoint = lane.waiting[lane.next++];
    const std::size_t index = attempts_.size();
    lane.newest = index;
    attempts_.push_back(
        {from_asio(endpoint.address()).to_string(), std::make_unique<tcp::socket>(executor_), {}, false});
    attempts_.back().socket->async_connect(endpoint,
                                           [self = shared_from_this(), which, index](const error_code& ec) {
                                             self->on_connected(which, index, ec);
                                           });
    if (lane.next < lane.waiting.size()) start_later(which, options_.next_address);
  }

  void on_connected(std::size_t which, std::size_t index, const error_code& ec) {
    if (finished_) return;
    Attempt& attempt = attempts_[index];
    if (!ec) {
      winner_.emplace(std::move(*attempt.socket));
      finish();
      return;
    }
    attempt.error = ec;
    attempt.failed = true;
    attempt.socket->close(ignored_);
    // A family that waits its turn need not wait for one that has failed.
    if (lanes_[which].newest == index) start_next(which);
    const std::size_t other = 1 - which;
    if (lanes_[which].next == lanes_[which].waiting.size() && lanes_[other].next == 0) {
      lanes_[other].timer.cancel();
      start_next(other);
    }
    finish_if_nothing_left();
  }

  void finish_if_nothing_left() {
    for (const Lane& lane : lanes_)
      if (lane.next < lane.waiting.size()) return;
    if (std::ranges::all_of(attempts_, &Attempt::failed)) finish();
  }

  asio::any_io_executor executor_;
  RaceOptions options_;
  asio::steady_timer done_;  // expires at the deadline; cancelled when the race is decided
  Lane lanes_[2];            // IPv4, IPv6
  std::vector<Attempt> attempts_;
  std::optional<tcp::socket> winner_;
  error_code ignored_;
  bool finished_ = false;
};

struct FinishOnExit {
  std::shared_ptr<Race> race;
  ~FinishOnExit() { race->finish(); }
};

}  // namespace

asio::awaitable<std::expected<tcp::socket, std::string>> connect_race(std::vector<IpAddress> addresses,
                                                                      std::uint16_t port, RaceOptions options,
                                                                      Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  auto race = std::make_shared<Race>(executor, options);
  const FinishOnExit guard{race};
  race->done().expires_after(std::max(deadline - now(), Duration(0)));
  race->start(addresses, port);
  if (!race->finished()) co_await race->done().async_wait(use_result);
  auto winner = race->take_winner();
  if (!winner) co_return std::unexpected(race->report());
  tune(*winner);
  co_return std::move(*winner);
}

}  // namespace dh::io
