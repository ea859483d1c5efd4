#include "io/stun_server.hh"

#include <array>

#include <boost/asio.hpp>

#include "io/derp_server.hh"
#include "io/listen_socket.hh"
#include "wire/stun.hh"
#include "wire/stun_behaviour.hh"

namespace dh::io {
namespace {

constexpr auto kUseResult = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxRequest = 1500;  // one Ethernet frame; requests have 20 to 100 bytes
constexpr int kRequestsPerTurn = 64;

bool may_be_answered(const Endpoint& source) {
  return source.port != 0 && !source.address.is_multicast() && !source.address.is_unspecified() &&
         source.address != IpAddress::v4(255, 255, 255, 255);
}

}  // namespace

struct StunServer::Impl {
  struct Socket {
    Fd fd;
    Endpoint local;
    asio::posix::stream_descriptor readiness;
  };

  Impl(asio::any_io_executor executor_, ShellCounters& counters_)
      : executor(std::move(executor_)), counters(counters_) {}

  void add(const Endpoint& endpoint) {
    Fd fd = bind_udp(endpoint);
    const Endpoint local = bound_endpoint(fd);
    asio::posix::stream_descriptor readiness(executor, ::dup(fd.get()));
    sockets.push_back({std::move(fd), local, std::move(readiness)});
  }

  // Socket `index` answers one request from `source`; false when it is not to be answered.
  bool answer(std::size_t index, ByteView request, const Endpoint& source) {
    if (!may_be_answered(source)) return false;
    const auto known = wire::stun::classify(request);
    if (known.kind == wire::stun::RequestKind::Tailnode ||
        (known.kind == wire::stun::RequestKind::Plain && !behaviour))
      return send(sockets[index], wire::stun::make_reply(known.id, source), source);
    if (!behaviour) return false;
    const auto wanted = wire::stun::parse_behaviour_request(request);
    if (!wanted) return false;
    // Bit 0 of an index is the address, bit 1 the port.
    const std::size_t from = index ^ (wanted->change_address ? 1u : 0u) ^ (wanted->change_port ? 2u : 0u);
    return send(
        sockets[from],
        wire::stun::make_behaviour_reply(wanted->id, source, sockets[from].local, sockets[index ^ 3u].local),
        source);
  }

  static bool send(const Socket& socket, const Bytes& reply, const Endpoint& to) {
    const SocketAddress address = SocketAddress::from(to);
    // A full socket buffer loses the answer; the client asks again.
    return ::sendto(socket.fd.get(), reply.data(), reply.size(), 0, address.data(), address.size) >= 0;
  }

  void serve(std::size_t index) {
    std::array<std::byte, kMaxRequest> buffer;
    for (int i = 0; i < kRequestsPerTurn; ++i) {
      SocketAddress from;
      from.size = sizeof from.storage;
      const ssize_t size =
          ::recvfrom(sockets[index].fd.get(), buffer.data(), buffer.size(), 0, from.data(), &from.size);
      if (size < 0) return;
      const ByteView request = ByteView(buffer).first(static_cast<std::size_t>(size));
      if (answer(index, request, SocketAddress::to_endpoint(from.storage)))
        ++counters.stun_requests;
      else
        ++counters.stun_dropped;
    }
  }

  static asio::awaitable<void> run(std::shared_ptr<Impl> self, std::size_t index) {
    while (!self->stopped) {
      const auto [error] = co_await self->sockets[index].readiness.async_wait(
          asio::posix::stream_descriptor::wait_read, kUseResult);
      if (error || self->stopped) break;
      self->serve(index);
    }
  }

  asio::any_io_executor executor;
  ShellCounters& counters;
  std::vector<Socket> sockets;  // with behaviour: A1:P1, A2:P1, A1:P2, A2:P2
  std::vector<Endpoint> endpoints;
  bool behaviour = false;
  bool stopped = false;
};

StunServer::StunServer(asio::any_io_executor executor, const std::vector<Endpoint>& endpoints,
                       ShellCounters& counters)
    : impl_(std::make_shared<Impl>(std::move(executor), counters)) {
  for (const Endpoint& endpoint : endpoints) impl_->add(endpoint);
  for (const Impl::Socket& socket : impl_->sockets) impl_->endpoints.push_back(socket.local);
  const std::vector<Endpoint>& bound = impl_->endpoints;
  impl_->behaviour = bound.size() == 2 && bound[0].address != bound[1].address &&
                     bound[0].port != bound[1].port && bound[0].address.is_v4() == bound[1].address.is_v4() &&
                     !bound[0].address.is_unspecified() && !bound[1].address.is_unspecified();
  if (!impl_->behaviour) return;
  impl_->add({bound[1].address, bound[0].port});
  impl_->add({bound[0].address, bound[1].port});
  // From {A1:P1, A2:P2, A2:P1, A1:P2} into index order.
  std::swap(impl_->sockets[1], impl_->sockets[2]);
  std::swap(impl_->sockets[2], impl_->sockets[3]);
}

StunServer::~StunServer() {
  stop();
}

void StunServer::start() {
  for (std::size_t i = 0; i < impl_->sockets.size(); ++i)
    asio::co_spawn(impl_->executor, Impl::run(impl_, i), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);  // our bug: let run() of the executor report it
    });
}

void StunServer::stop() {
  impl_->stopped = true;
  for (Impl::Socket& socket : impl_->sockets) {
    boost::system::error_code ignored;
    socket.readiness.close(ignored);
    socket.fd.reset();
  }
}

const std::vector<Endpoint>& StunServer::endpoints() const {
  return impl_->endpoints;
}

}  // namespace dh::io
