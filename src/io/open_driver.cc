#include "io/open_driver.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/overloaded.hh"
#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/tcp_flows.hh"

namespace dh::io {
namespace {

constexpr session::PeerId kPeer = 1;        // there is one
constexpr Duration kGoneAfter = 3s;         // silent for longer: new connections are turned away at once
constexpr Duration kFlushLimit = 500ms;     // for the last packets to leave for the relay
constexpr Duration kNoDescriptors = 100ms;  // before accepting again
constexpr int kBacklog = 1024;

int spare_descriptor() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace

struct OpenDriver::Impl final : TunnelTransport {
  using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

  Impl(asio::any_io_executor where, OpenDriverOptions options_in, Rng& rng, OpenObserver& observer_in)
      : TunnelTransport(where, options_in.transport, rng),
        options(std::move(options_in)),
        observer(observer_in),
        dialer(options.dialer, now(), wall_now(), rng),
        acceptor(where),
        accept_timer(where),
        flush_timer(where),
        spare(spare_descriptor()) {
    bind();
  }
  ~Impl() override { remove_socket(); }

  void remove_socket() {
    if (bound_unix) ::unlink(options.bind.unix_path.c_str());
    bound_unix = false;
  }

  // Bound before anybody is dialled, listening only once somebody is behind it.
  void bind() {
    if (options.bind.unix_path.empty()) {
      const asio::ip::tcp::endpoint at(to_asio(options.bind.endpoint.address), options.bind.endpoint.port);
      acceptor.open(at.protocol());
      acceptor.set_option(asio::socket_base::reuse_address(true));
      if (at.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true));
      acceptor.bind(at);
      reset_unless_finished(acceptor.native_handle(), true);
      return;
    }
    const asio::local::stream_protocol::endpoint at(options.bind.unix_path);
    acceptor.open(at.protocol());
    const mode_t before = ::umask(0177);  // 0600 from the first moment
    boost::system::error_code error;
    acceptor.bind(at, error);
    ::umask(before);
    if (error) throw boost::system::system_error(error);
    bound_unix = true;
  }

  std::string address() const {
    if (!options.bind.unix_path.empty()) return "unix:" + options.bind.unix_path;
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    ::getsockname(const_cast<Acceptor&>(acceptor).native_handle(), reinterpret_cast<sockaddr*>(&storage),
                  &size);
    return SocketAddress::to_endpoint(storage).to_string();
  }

  // TunnelTransport
  void relay_up(std::size_t relay) override { dialer.on_relay_up(relay, now()); }
  void relay_down(std::size_t relay, const std::string& why) override {
    dialer.on_relay_down(relay, now());
    observer.on_relay_trouble(relay, why);
  }
  void relay_writable(std::size_t relay, bool writable) override {
    dialer.on_relay_writable(relay, writable);
  }
  void relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet) override {
    dialer.on_relay_packet(relay, from, packet, now());
  }
  void peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason) override {
    dialer.on_peer_gone(relay, peer, reason, now());
  }
  bool wants_relay(std::size_t relay) const override { return dialer.wants_relay(relay); }
  void core_timeout(Instant at) override { dialer.on_timeout(at, wall_now()); }
  std::optional<session::TunnelListener::Transmit> core_transmit(ByteSpan out, Instant at) override {
    if (auto sent = dialer.poll_transmit(out, at)) return session::TunnelListener::Transmit{kPeer, *sent};
    return std::nullopt;
  }
  std::optional<std::size_t> core_more(ByteSpan out, Instant at) override {
    return dialer.poll_more(out, at);
  }
  std::optional<Instant> core_next_timeout() const override { return dialer.next_timeout(); }

  void core_events(Instant at) override {
    if (!flows && dialer.link() != nullptr) {
      session::TunnelLink& link = *dialer.link();
      flows.emplace(
          executor(), link.quic(), [this] { schedule(); },
          [this](quic::StreamId stream, const tunnel::StreamHeader&) {  // only openers open
            flows->refuse(stream, tunnel::StreamCode::UnknownForward);
          },
          [this](std::uint64_t code) { observer.on_connection_reset(code); });
      open_paths(kPeer, link);
    }
    for (bool again = true; again;) {
      again = false;
      while (auto event = dialer.poll_event()) {
        again = true;
        std::visit(Overloaded{
                       [&](const session::DialerOpen&) { is_open = true; },
                       [&](const session::DialFailed& why) { failed = why; },
                       [&](const session::TunnelEvent& happened) { link_event(happened); },
                   },
                   *event);
      }
      while (dialer.link() != nullptr && flows) {
        const auto event = dialer.link()->quic().poll_event();
        if (!event) break;
        if (std::holds_alternative<quic::Established>(*event)) established = true;
        if (std::holds_alternative<quic::StreamsAvailable>(*event)) serve_waiting();
        flows->on_event(*event);
      }
    }
    if (is_open && established && !listening && !stopping && !ended) start_listening();
    if (failed || dialer.is_over() || (stopping && at >= stop_limit)) finish(at);
  }

  void link_event(const session::TunnelEvent& event) {
    if (const auto* open = std::get_if<path::OpenSockets>(&event)) return open_sockets(kPeer, *open);
    if (const auto* close = std::get_if<path::CloseSockets>(&event)) return close_sockets(kPeer, *close);
    if (const auto* over = std::get_if<session::TunnelEnded>(&event)) {
      ended = *over;
      boost::system::error_code ignored;
      acceptor.close(ignored);
      waiting.reset();
      if (flows) flows->reset_all();
      schedule();
      return;
    }
    observer.on_event(event);
  }

  // ---- connections ----

  void start_listening() {
    listening = true;
    acceptor.listen(kBacklog);
    observer.on_listening(address());
    accept_next();
  }

  void accept_next() {
    if (accepting || !acceptor.is_open()) return;
    accepting = true;
    acceptor.async_accept(
        [this, self = shared_from_this()](boost::system::error_code error, StreamSocket socket) {
          accepting = false;
          if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
          if (error) return accept_failed(error);
          take(std::move(socket));
          if (!waiting) accept_next();
        });
  }

  // Without a descriptor the connection would wait unseen. With the spare one it is told at once.
  void accept_failed(const boost::system::error_code& error) {
    observer.on_turned_away("a connection could not be accepted: " + error.message());
    spare.reset();
    const int fd = ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      const linger now_and_hard{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_and_hard, sizeof now_and_hard);
      ::close(fd);
    }
    spare = Fd(spare_descriptor());
    accept_timer.expires_after(kNoDescriptors);
    accept_timer.async_wait([this, self = shared_from_this()](boost::system::error_code) { accept_next(); });
  }

  void take(StreamSocket socket) {
    prepare_socket(socket);
    const auto silent = dialer.link() == nullptr ? std::nullopt : dialer.link()->silent_for(now());
    if (silent && *silent > kGoneAfter) {
      observer.on_turned_away("the other side cannot be reached just now");
      return reset_socket(socket);
    }
    if (!flows->open(socket, tunnel::StreamHeader{})) {
      waiting.emplace(std::move(socket));  // until a stream is free; the others wait in the system's queue
      return;
    }
    schedule();
  }

  void serve_waiting() {
    if (!waiting) return;
    if (!flows->open(*waiting, tunnel::StreamHeader{})) return;
    waiting.reset();
    accept_next();
  }

  // ---- the end ----

  void begin_stop() {
    if (stopping) return;
    stopping = true;
    boost::system::error_code ignored;
    acceptor.close(ignored);
    stop_limit = now() + kFlushLimit;
    dialer.close("the opener was stopped", now());
    flush_timer.expires_after(kFlushLimit);
    flush_timer.async_wait([this, self = shared_from_this()](boost::system::error_code) { schedule(); });
    schedule();
  }

  void finish(Instant at) {
    if (is_stopped()) return;
    if (!flush_until) flush_until = at + kFlushLimit;
    if (!flushed() && now() < *flush_until) {
      flush_timer.expires_after(2ms);
      flush_timer.async_wait([this, self = shared_from_this()](boost::system::error_code) { finish(now()); });
      return;
    }
    boost::system::error_code ignored;
    acceptor.close(ignored);
    if (flows) flows->reset_all();
    remove_socket();
    TunnelTransport::stop();
    observer.on_ended(failed, ended);
  }

  OpenDriverOptions options;
  OpenObserver& observer;
  session::TunnelDialer dialer;
  std::optional<TcpFlows> flows;
  Acceptor acceptor;
  asio::steady_timer accept_timer, flush_timer;
  Fd spare;
  std::optional<StreamSocket> waiting;
  std::optional<session::DialFailed> failed;
  std::optional<session::TunnelEnded> ended;
  std::optional<Instant> flush_until;
  Instant stop_limit{};
  bool bound_unix = false, is_open = false, established = false, listening = false, accepting = false,
       stopping = false;
};

OpenDriver::OpenDriver(asio::any_io_executor executor, OpenDriverOptions options, Rng& rng,
                       OpenObserver& observer)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options), rng, observer)) {}
OpenDriver::~OpenDriver() = default;

void OpenDriver::start() {
  impl_->start();
}
void OpenDriver::stop() {
  impl_->begin_stop();
}

}  // namespace dh::io
