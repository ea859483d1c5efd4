#include "io/port_map_client.hh"

#include <array>
#include <cerrno>
#include <memory>

#include <boost/asio.hpp>

#include "base/overloaded.hh"
#include "io/clock.hh"
#include "io/gateway.hh"
#include "io/listen_socket.hh"
#include "io/system_rng.hh"
#include "io/upnp.hh"

namespace dh::io {
namespace {

namespace asio = boost::asio;
using path::PortMapper;

constexpr std::size_t kReceiveBytes = 1500;  // PCP says 1100 at most
constexpr int kDatagramsPerTurn = 32;

// Connected, so that only the gateway's answers come in, and word of a closed port.
Fd connect_to(const Gateway& gateway) {
  Fd fd;
  try {
    fd = bind_udp({gateway.local, 0});
  } catch (const std::runtime_error&) {
    return {};  // the address has just gone
  }
  const SocketAddress server = SocketAddress::from({gateway.address, wire::nat_pmp::kPort});
  if (::connect(fd.get(), server.data(), server.size) != 0) fd.reset();
  return fd;
}

// Where gateways announce that they have restarted. Other programs of this machine may listen, too.
Fd hear_announcements(const Gateway& gateway) {
  if (gateway.address.is_v6()) return {};
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  ip_mreqn group{};
  group.imr_multiaddr.s_addr = htonl(INADDR_ALLHOSTS_GROUP);
  group.imr_ifindex = static_cast<int>(gateway.interface);
  const SocketAddress any = SocketAddress::from({IpAddress(), wire::nat_pmp::kAnnouncementPort});
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      ::bind(fd.get(), any.data(), any.size) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    fd.reset();  // then the minute's question finds out
  return fd;
}

}  // namespace

struct PortMapClient::Impl : std::enable_shared_from_this<Impl> {
  using Descriptor = std::shared_ptr<asio::posix::stream_descriptor>;

  Impl(const asio::any_io_executor& executor_in, bool v6_in, std::uint16_t port, OnMapping callback)
      : executor(executor_in),
        v6(v6_in),
        internal_port(port),
        on_mapping(std::move(callback)),
        timer(executor),
        stop_limit(executor) {}

  void find_gateway() {
    if (stopped) return;
    auto found = default_gateway(v6);
    if (found && !may_map_ports(*found)) found.reset();
    if (found == gateway && (mapper || !found)) return;
    close_sockets();
    upnp.reset();
    gateway = found;
    if (!gateway) {
      mapper.reset();
      timer.cancel();
      return tell(std::nullopt);
    }
    if (mapper) {
      mapper->on_gateway_changed(gateway->address, gateway->local, now());
    } else {
      mapper.emplace(path::PortMapperConfig{gateway->address, gateway->local, internal_port}, now(), rng);
    }
    settled = false;
    open(socket, connect_to(*gateway));
    open(announcements, hear_announcements(*gateway));
    if (!v6) {
      upnp = std::make_unique<UpnpGateway>(executor, *gateway, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self && self->mapper) self->mapper->on_upnp_seen();
      });
      upnp->search();
    }
    drain();
  }

  void open(Descriptor& descriptor, Fd fd) {
    if (!fd) return;
    descriptor = std::make_shared<asio::posix::stream_descriptor>(executor, fd.release());
    wait(descriptor);
  }

  void close_sockets() {
    for (Descriptor* descriptor : {&socket, &announcements}) {
      if (!*descriptor) continue;
      boost::system::error_code ignored;
      (*descriptor)->close(ignored);
      descriptor->reset();
    }
  }

  void wait(const Descriptor& descriptor) {
    descriptor->async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this(), descriptor](boost::system::error_code error) {
                             if (error || !self->mapper || !descriptor->is_open()) return;
                             self->receive(descriptor);
                             self->drain();
                             if (descriptor->is_open()) self->wait(descriptor);
                           });
  }

  void receive(const Descriptor& descriptor) {
    std::array<std::byte, kReceiveBytes> buffer;
    for (int i = 0; i < kDatagramsPerTurn; ++i) {
      SocketAddress from;
      from.size = sizeof from.storage;
      const ssize_t size =
          ::recvfrom(descriptor->native_handle(), buffer.data(), buffer.size(), 0, from.data(), &from.size);
      const Instant at = now();
      if (size >= 0) {
        mapper->on_datagram(SocketAddress::to_endpoint(from.storage),
                            ByteView(buffer).first(static_cast<std::size_t>(size)), at);
      } else if (errno == ECONNREFUSED) {
        mapper->on_port_unreachable(at);
      } else {
        return;
      }
    }
  }

  void drain() {
    if (!mapper) return;
    while (const auto transmit = mapper->poll_transmit()) {
      if (!socket) continue;  // as if lost
      // The first call may only report an old ICMP error of the socket.
      for (int i = 0; i < 2; ++i)
        if (::send(socket->native_handle(), transmit->datagram.data(), transmit->datagram.size(),
                   MSG_NOSIGNAL) >= 0 ||
            errno != ECONNREFUSED)
          break;
    }
    while (mapper) {
      const auto event = mapper->poll_event();
      if (!event) break;
      std::visit(Overloaded{[&](const PortMapper::Mapped& mapped) { tell(mapped.external); },
                            [&](const PortMapper::Lost&) { tell(std::nullopt); },
                            [&](const PortMapper::Unavailable&) { tell(std::nullopt); },
                            [&](const PortMapper::UpnpWanted& wanted) { ask_upnp(wanted); }},
                 *event);
    }
    if (stopped) return finish_stop();
    arm();
  }

  void arm() {
    const auto next = mapper ? mapper->next_timeout() : std::nullopt;
    if (!next) {
      timer.cancel();
      return;
    }
    timer.expires_after(std::max(*next - now(), Duration::zero()));
    timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (error || !self->mapper) return;
      self->mapper->on_timeout(now());
      self->drain();
    });
  }

  void ask_upnp(const PortMapper::UpnpWanted& wanted) {
    if (!upnp || stopped) return;
    upnp->map(wanted.internal_port, wanted.external_port, wanted.lease,
              [weak = weak_from_this()](std::optional<UpnpMapping> mapping) {
                const auto self = weak.lock();
                if (!self || !self->mapper || self->stopped) return;
                if (mapping) {
                  self->mapper->on_upnp_mapped(mapping->external, mapping->lease, now());
                } else {
                  self->mapper->on_upnp_failed(now());
                }
                // Not from within drain(): the answer may come while it asks.
                asio::post(self->executor, [self] { self->drain(); });
              });
  }

  void tell(std::optional<Endpoint> external) {
    settled = true;
    asio::post(executor, [self = shared_from_this(), external] {
      if (!self->stopped) self->on_mapping(external);
    });
  }

  void stop(std::function<void()> done) {
    if (stopped) {
      if (done) asio::post(executor, std::move(done));
      return;
    }
    stopped = true;
    on_stopped = std::move(done);
    timer.cancel();
    if (upnp) {
      upnp_busy = true;
      upnp->stop([weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->upnp_busy = false;
        self->finish_stop();
      });
    }
    stop_limit.expires_after(kStopLimit);
    stop_limit.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->end();
    });
    if (mapper) {
      mapper->close(now());
      drain();
    } else {
      finish_stop();
    }
  }

  void finish_stop() {
    if (mapper && !mapper->is_closed()) return arm();
    if (!upnp_busy) end();
  }

  void end() {
    stop_limit.cancel();
    timer.cancel();
    close_sockets();
    if (auto done = std::exchange(on_stopped, {})) asio::post(executor, std::move(done));
    // Not here: this may be its own callback.
    asio::post(executor, [self = shared_from_this()] { self->upnp.reset(); });
  }

  asio::any_io_executor executor;
  bool v6;
  std::uint16_t internal_port;
  OnMapping on_mapping;
  SystemRng rng;
  asio::steady_timer timer, stop_limit;
  std::optional<Gateway> gateway;
  std::optional<PortMapper> mapper;
  std::unique_ptr<UpnpGateway> upnp;
  Descriptor socket, announcements;
  std::function<void()> on_stopped;
  bool settled = false, stopped = false, upnp_busy = false;
};

PortMapClient::PortMapClient(asio::any_io_executor executor, Family family, std::uint16_t internal_port,
                             OnMapping on_mapping)
    : impl_(std::make_shared<Impl>(executor, family == Family::V6, internal_port, std::move(on_mapping))) {}

PortMapClient::~PortMapClient() {
  impl_->stop({});
}

void PortMapClient::start() {
  impl_->find_gateway();
  if (!impl_->gateway) impl_->tell(std::nullopt);
}

void PortMapClient::on_network_changed() {
  impl_->find_gateway();
}

void PortMapClient::stop(std::function<void()> done) {
  impl_->stop(std::move(done));
}

bool PortMapClient::is_settled() const {
  return impl_->settled;
}

std::optional<PortMapper::Mapped> PortMapClient::mapping() const {
  return impl_->mapper ? impl_->mapper->mapping() : std::nullopt;
}

path::PortMappingReport PortMapClient::report() const {
  path::PortMappingReport out;
  if (const auto seen = presence()) {
    out.pcp = seen->pcp;
    out.nat_pmp = seen->nat_pmp;
    out.upnp = seen->upnp;
  }
  if (const auto mapped = mapping()) out.external = mapped->external;
  return out;
}

std::optional<path::GatewayPresence> PortMapClient::presence() const {
  if (!impl_->mapper) return std::nullopt;
  return impl_->mapper->presence();
}

}  // namespace dh::io
