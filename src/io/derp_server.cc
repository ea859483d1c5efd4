#include "io/derp_server.hh"

#include <algorithm>
#include <stdexcept>

#include <boost/asio.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "base/check.hh"
#include "derp/meta_cert.hh"
#include "io/clock.hh"
#include "io/relay_engine.hh"
#include "io/stun_server.hh"

namespace dh::io {
namespace {

constexpr auto kUseResult = asio::as_tuple(asio::use_awaitable);

}  // namespace

// Closed --start--> Serving --drain--> Draining --last connection gone, deadline--> Closed;  stop: any -->
// Closed
struct DerpServer::Impl : std::enable_shared_from_this<DerpServer::Impl> {
  Impl(asio::any_io_executor executor_, DerpServerOptions options_, Rng& rng_)
      : executor(std::move(executor_)),
        options(std::move(options_)),
        rng(rng_),
        public_key(options.key.pub) {}

  asio::awaitable<void> pump();
  void start();
  void stop();
  std::unique_ptr<TlsServerContext> make_tls();

  asio::any_io_executor executor;
  DerpServerOptions options;
  Rng& rng;
  PublicKey public_key;
  ShellCounters shell;
  derp::ServerCounters last_counters;  // outlive the engine
  std::unique_ptr<RelayEngine> engine;
  std::unique_ptr<StunServer> stun;
  std::optional<asio::posix::stream_descriptor> readiness;
  std::optional<asio::steady_timer> drain_timer;
  std::vector<Endpoint> endpoints;
  std::optional<Endpoint> metrics_endpoint;
  std::optional<ByteArray<32>> pin;
};

std::unique_ptr<TlsServerContext> DerpServer::Impl::make_tls() {
  if (!options.tls) {
    for (const Endpoint& endpoint : options.listen)
      if (!endpoint.address.is_loopback())
        throw std::runtime_error(fmt::format(
            "a relay without TLS may listen on loopback addresses only, not on {}", endpoint.to_string()));
    return nullptr;
  }
  // The meta certificate tells clients our DERP key inside the handshake, which saves them a round trip.
  Secret<32> seed;
  rng.fill(seed.expose_mutable());
  const UnixSeconds today = wall_now();
  const derp::MetaCertDates dates{.not_before = today - 30 * 24h, .not_after = today + 30 * 24h};
  return std::make_unique<TlsServerContext>(
      *options.tls, std::vector<Bytes>{derp::make_meta_cert(public_key, seed, dates)});
}

void DerpServer::Impl::start() {
  CHECK(engine == nullptr);
  if (options.listen.empty()) throw std::runtime_error("a relay needs at least one address to listen on");
  auto tls = make_tls();
  if (tls) pin = tls->pin();
  // Everything is bound before anything is served, so a failure leaves nothing behind.
  std::vector<Fd> sockets;
  std::vector<Endpoint> bound;
  for (const Endpoint& endpoint : options.listen) {
    sockets.push_back(listen_tcp(endpoint, options.socket_send_bytes));
    bound.push_back(bound_endpoint(sockets.back()));
  }
  Fd metrics;
  if (options.metrics) metrics = listen_tcp(*options.metrics, 0);
  std::unique_ptr<StunServer> stun_server;
  if (!options.stun.empty()) stun_server = std::make_unique<StunServer>(executor, options.stun, shell);

  engine = std::make_unique<RelayEngine>(options, std::move(tls), shell, now(), rng);
  for (Fd& socket : sockets) engine->add_listener(std::move(socket), false);
  endpoints = std::move(bound);
  if (metrics) {
    metrics_endpoint = bound_endpoint(metrics);
    engine->add_listener(std::move(metrics), true);
  }
  stun = std::move(stun_server);
  if (stun) stun->start();
  const int descriptor = ::dup(engine->descriptor());  // the engine keeps its own
  if (descriptor < 0) throw std::runtime_error("cannot serve: out of file descriptors");
  readiness.emplace(executor, descriptor);
  asio::co_spawn(executor, pump(), [self = shared_from_this()](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);  // our bug: let run() of the executor report it
  });
}

asio::awaitable<void> DerpServer::Impl::pump() {
  const auto self = shared_from_this();
  while (engine) {
    const auto [error] =
        co_await readiness->async_wait(asio::posix::stream_descriptor::wait_read, kUseResult);
    if (error || !engine) break;
    engine->turn(now());
    if (drain_timer && engine->connections() == 0) drain_timer->cancel();
  }
}

void DerpServer::Impl::stop() {
  if (!engine) return;
  boost::system::error_code ignored;
  readiness->close(ignored);
  if (stun) stun->stop();
  if (drain_timer) drain_timer->cancel();
  last_counters = engine->core().counters();
  shell.current_tcp = 0;
  engine.reset();
}

DerpServer::DerpServer(asio::any_io_executor executor, DerpServerOptions options, Rng& rng)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options), rng)) {}

DerpServer::~DerpServer() {
  stop();
}

void DerpServer::start() {
  impl_->start();
}

asio::awaitable<void> DerpServer::drain(Duration reconnect_in, Duration try_for, Duration deadline) {
  const auto impl = impl_;
  if (!impl->engine) co_return;
  impl->drain_timer.emplace(impl->executor, std::chrono::duration_cast<std::chrono::nanoseconds>(deadline));
  if (impl->stun) impl->stun->stop();
  impl->engine->begin_drain(reconnect_in, try_for, now());
  if (impl->engine->connections() != 0) co_await impl->drain_timer->async_wait(kUseResult);
  impl->stop();
}

void DerpServer::stop() {
  impl_->stop();
}

const std::vector<Endpoint>& DerpServer::endpoints() const {
  return impl_->endpoints;
}

const std::vector<Endpoint>& DerpServer::stun_endpoints() const {
  static const std::vector<Endpoint> kNone;
  return impl_->stun ? impl_->stun->endpoints() : kNone;
}

std::optional<Endpoint> DerpServer::metrics_endpoint() const {
  return impl_->metrics_endpoint;
}

std::optional<ByteArray<32>> DerpServer::pin() const {
  return impl_->pin;
}

const PublicKey& DerpServer::public_key() const {
  return impl_->public_key;
}

const derp::ServerCounters& DerpServer::counters() const {
  return impl_->engine ? impl_->engine->core().counters() : impl_->last_counters;
}

const ShellCounters& DerpServer::shell_counters() const {
  return impl_->shell;
}

}  // namespace dh::io
