#include "io/network_monitor.hh"

#include <array>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/time.hh"
#include "io/listen_socket.hh"

namespace dh::io {
namespace {

namespace asio = boost::asio;

constexpr Duration kCoalesce = 100ms;  // a link that flaps is quiet again after that

Fd open_netlink() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

}  // namespace

struct NetworkMonitor::Impl : std::enable_shared_from_this<Impl> {
  Impl(const asio::any_io_executor& executor, OnChange change)
      : descriptor(executor), timer(executor), on_change(std::move(change)), state(network_state()) {
    Fd fd = open_netlink();
    if (fd) descriptor.assign(fd.release());  // without it (a sandbox), probes alone find out
  }

  void wait() {
    if (!descriptor.is_open()) return;
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](boost::system::error_code error) {
                            if (error || self->stopped) return;
                            self->drain();
                            self->wait();
                          });
  }

  void drain() {
    std::array<std::byte, 16384> messages;
    while (::recv(descriptor.native_handle(), messages.data(), messages.size(), MSG_DONTWAIT) > 0) {
    }  // what changed is read afresh; an overflow (ENOBUFS) says the same
    if (pending) return;
    pending = true;
    timer.expires_after(kCoalesce);
    timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
      self->pending = false;
      if (error || self->stopped) return;
      NetworkState fresh = network_state();
      if (fresh == self->state) return;
      self->state = std::move(fresh);
      self->on_change(self->state);
    });
  }

  asio::posix::stream_descriptor descriptor;
  asio::steady_timer timer;
  OnChange on_change;
  NetworkState state;
  bool pending = false, stopped = false;
};

NetworkMonitor::NetworkMonitor(asio::any_io_executor executor, OnChange on_change)
    : impl_(std::make_shared<Impl>(executor, std::move(on_change))) {
  impl_->wait();
}

NetworkMonitor::~NetworkMonitor() {
  impl_->stopped = true;
  impl_->timer.cancel();
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);
}

const NetworkState& NetworkMonitor::state() const {
  return impl_->state;
}

}  // namespace dh::io
