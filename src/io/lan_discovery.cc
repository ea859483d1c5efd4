#include "io/lan_discovery.hh"

#include <algorithm>
#include <array>
#include <vector>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr Duration kJoinAgain = 30s;  // interfaces come and go while a code waits
constexpr Duration kAskAgain = 500ms;
constexpr std::size_t kMaxDatagram = 512;  // longer ones are none of ours
constexpr int kDatagramsPerTurn = 32;
constexpr unsigned kMaxInterfaces = 64;  // containers can make hundreds

std::vector<unsigned> interfaces(const LanGroups& groups) {
  if (!groups.interfaces.empty()) return groups.interfaces;
  std::vector<unsigned> out;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) == 0) continue;
    const unsigned index = ::if_nametoindex(entry->ifa_name);
    if (index != 0 && std::find(out.begin(), out.end(), index) == out.end() && out.size() < kMaxInterfaces)
      out.push_back(index);
  }
  ::freeifaddrs(list);
  return out;
}

void set(const Fd& fd, int level, int option, int value) {
  (void)::setsockopt(fd.get(), level, option, &value, sizeof value);
}

Fd open_udp(bool v6) {
  Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fd;
  if (v6) {
    set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1);
    set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
  } else {
    set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1);
    set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
  }
  return fd;
}

// Bound to the group's own address: datagrams sent to us alone, from anywhere, never reach the socket.
Fd open_group(const LanGroups& groups, bool v6) {
  Fd fd = open_udp(v6);
  if (!fd) return fd;
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);  // several senders on one machine
  const SocketAddress address = SocketAddress::from({v6 ? groups.v6 : groups.v4, groups.port});
  if (::bind(fd.get(), address.data(), address.size) != 0) return Fd();
  return fd;
}

void join(const Fd& fd, const IpAddress& group, unsigned interface) {
  if (group.is_v4()) {
    ip_mreqn request{};
    std::memcpy(&request.imr_multiaddr, group.v4_bytes().data(), 4);
    request.imr_ifindex = static_cast<int>(interface);
    (void)::setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
  } else {
    ipv6_mreq request{};
    std::memcpy(&request.ipv6mr_multiaddr, group.mapped().data(), 16);
    request.ipv6mr_interface = interface;
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request);
  }
}

void send_through(const Fd& fd, const Endpoint& to, unsigned interface, ByteView bytes) {
  if (to.address.is_v4()) {
    ip_mreqn request{};
    request.imr_ifindex = static_cast<int>(interface);
    if (::setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request) != 0) return;
  } else {
    const int index = static_cast<int>(interface);
    if (::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index) != 0) return;
  }
  const SocketAddress address = SocketAddress::from(to);
  // An interface without the family, or without a route: the others may do.
  (void)::sendto(fd.get(), bytes.data(), bytes.size(), 0, address.data(), address.size);
}

// Reads what is there; calls `take` until it says false or nothing is left.
template <class Take>
void read_all(const Fd& fd, Take take) {
  std::array<std::byte, kMaxDatagram> buffer;
  for (int i = 0; i < kDatagramsPerTurn; ++i) {
    SocketAddress from;
    from.size = sizeof from.storage;
    const ssize_t size =
        ::recvfrom(fd.get(), buffer.data(), buffer.size(), MSG_TRUNC, from.data(), &from.size);
    if (size < 0) return;
    if (static_cast<std::size_t>(size) > buffer.size()) continue;
    if (!take(SocketAddress::to_endpoint(from.storage),
              ByteView(buffer).first(static_cast<std::size_t>(size))))
      return;
  }
}

// A socket and what the loop waits on for it.
struct Ear {
  Ear(const asio::any_io_executor& executor, Fd opened, bool is_v6)
      : fd(std::move(opened)), v6(is_v6), readiness(executor, ::dup(fd.get())) {}
  Fd fd;
  bool v6;
  asio::posix::stream_descriptor readiness;
};

}  // namespace

struct LanResponder::Impl {
  Impl(asio::any_io_executor ex, session::LanAnswerer answers, LanGroups where)
      : executor(std::move(ex)),
        answerer(std::move(answers)),
        groups(std::move(where)),
        join_timer(executor) {}

  static asio::awaitable<void> listen(std::shared_ptr<Impl> self, std::shared_ptr<Ear> ear) {
    while (!self->stopped) {
      const auto [error] =
          co_await ear->readiness.async_wait(asio::posix::stream_descriptor::wait_read, use_result);
      if (error || self->stopped) co_return;
      read_all(ear->fd, [&](const Endpoint& from, ByteView packet) {
        if (from.port == 0) return true;
        const auto answer = self->answerer.on_question(packet, now());
        if (!answer) return true;
        const SocketAddress to = SocketAddress::from(from);
        (void)::sendto(ear->fd.get(), answer->data(), answer->size(), 0, to.data(), to.size);
        return true;
      });
    }
  }
  static asio::awaitable<void> keep_joining(std::shared_ptr<Impl> self) {
    while (!self->stopped) {
      for (const unsigned interface : interfaces(self->groups))
        for (const auto& ear : self->ears)
          join(ear->fd, ear->v6 ? self->groups.v6 : self->groups.v4, interface);
      self->join_timer.expires_after(kJoinAgain);
      co_await self->join_timer.async_wait(use_result);
    }
  }

  asio::any_io_executor executor;
  session::LanAnswerer answerer;
  LanGroups groups;
  std::vector<std::shared_ptr<Ear>> ears;
  asio::steady_timer join_timer;
  bool stopped = false;
};

LanResponder::LanResponder(asio::any_io_executor executor, session::LanAnswerer answerer, LanGroups groups)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(answerer), std::move(groups))) {
  const auto report = [](std::exception_ptr) {};  // nothing in them throws
  for (const bool v6 : {false, true}) {
    if (v6 ? !impl_->groups.use_v6 : !impl_->groups.use_v4) continue;
    Fd fd = open_group(impl_->groups, v6);
    if (!fd) continue;
    impl_->ears.push_back(std::make_shared<Ear>(impl_->executor, std::move(fd), v6));
    asio::co_spawn(impl_->executor, Impl::listen(impl_, impl_->ears.back()), report);
  }
  asio::co_spawn(impl_->executor, Impl::keep_joining(impl_), report);
}

LanResponder::~LanResponder() {
  impl_->stopped = true;
  impl_->join_timer.cancel();
  for (const auto& ear : impl_->ears) ear->readiness.close();
}

const session::LanCounters& LanResponder::counters() const {
  return impl_->answerer.counters();
}

namespace {

// One search: its sockets, and the first good answer.
struct Search {
  Search(const asio::any_io_executor& executor, session::LanAsker asking)
      : asker(std::move(asking)), wake(executor) {
    for (const bool v6 : {false, true})
      if (Fd fd = open_udp(v6)) ears.push_back(std::make_shared<Ear>(executor, std::move(fd), v6));
  }
  static asio::awaitable<void> listen(std::shared_ptr<Search> self, std::shared_ptr<Ear> ear) {
    while (!self->over) {
      const auto [error] =
          co_await ear->readiness.async_wait(asio::posix::stream_descriptor::wait_read, use_result);
      if (error || self->over) co_return;
      read_all(ear->fd, [&](const Endpoint& from, ByteView packet) {
        const auto relay = self->asker.on_answer(packet);
        if (!relay) return true;
        if (self->found && !self->found->at.address.is_link_local()) return false;
        self->found = FoundRelay{{from.address, relay->port}, relay->pin};
        if (from.address.is_link_local()) return true;  // the session would find no direct path there
        self->wake.cancel();
        return false;
      });
    }
  }
  session::LanAsker asker;
  std::vector<std::shared_ptr<Ear>> ears;
  asio::steady_timer wake;
  std::optional<FoundRelay> found;
  bool over = false;
};

// Ends the search however the coroutine ends, cancellation included.
struct SearchEnd {
  std::shared_ptr<Search> search;
  ~SearchEnd() {
    search->over = true;
    for (const auto& ear : search->ears) ear->readiness.close();
  }
};

}  // namespace

asio::awaitable<std::optional<FoundRelay>> find_on_lan(session::LanAsker asker, Duration patience,
                                                       LanGroups groups) {
  const auto executor = co_await asio::this_coro::executor;
  auto search = std::make_shared<Search>(executor, std::move(asker));
  const SearchEnd end{search};
  for (const auto& ear : search->ears)
    asio::co_spawn(executor, Search::listen(search, ear), [](std::exception_ptr) {});
  const Instant deadline = now() + patience;
  while (!search->found && now() < deadline) {
    for (const unsigned interface : interfaces(groups))
      for (const auto& ear : search->ears)
        send_through(ear->fd, {ear->v6 ? groups.v6 : groups.v4, groups.port}, interface,
                     search->asker.question());
    search->wake.expires_after(std::min(kAskAgain, deadline - now()));
    co_await search->wake.async_wait(use_result);
  }
  co_return search->found;
}

}  // namespace dh::io
