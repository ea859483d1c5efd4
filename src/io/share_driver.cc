#include "io/share_driver.hh"

#include <cerrno>

#include "base/overloaded.hh"
#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/tcp_flows.hh"

namespace dh::io {
namespace {

constexpr Duration kConnectLimit = 10s;  // for the target to answer
constexpr Duration kFlushLimit = 500ms;  // for the last packets to leave for the relay

tunnel::StreamCode code_for(const boost::system::error_code& error) {
  switch (error.value()) {
    case ECONNREFUSED:
    case ENOENT:  // of a Unix socket
      return tunnel::StreamCode::TargetRefused;
    case ETIMEDOUT:
    case ECANCELED:
      return tunnel::StreamCode::TargetSilent;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:  // no local port is left
    case EAGAIN:         // a Unix socket's backlog is full
      return tunnel::StreamCode::NoResources;
    default:
      return tunnel::StreamCode::TargetUnreachable;
  }
}

}  // namespace

struct ShareDriver::Impl final : TunnelTransport {
  Impl(asio::any_io_executor where, ShareDriverOptions options_in, Rng& rng, ShareObserver& observer_in)
      : TunnelTransport(where, options_in.transport, rng),
        options(std::move(options_in)),
        observer(observer_in),
        listener(options.listener, now(), rng),
        flush_timer(where) {}

  // TunnelTransport
  void relay_up(std::size_t relay) override { listener.on_relay_up(relay, now()); }
  void relay_down(std::size_t relay, const std::string& why) override {
    listener.on_relay_down(relay, now());
    observer.on_relay_trouble(relay, why);
  }
  void relay_writable(std::size_t relay, bool writable) override {
    listener.on_relay_writable(relay, writable);
  }
  void relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet) override {
    listener.on_relay_packet(relay, from, packet, now(), wall_now());
  }
  void peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason) override {
    listener.on_peer_gone(relay, peer, now());
  }
  bool wants_relay(std::size_t) const override { return true; }
  void core_timeout(Instant at) override { listener.on_timeout(at); }
  std::optional<session::TunnelListener::Transmit> core_transmit(ByteSpan out, Instant at) override {
    return listener.poll_transmit(out, at);
  }
  std::optional<std::size_t> core_more(ByteSpan out, Instant at) override {
    return listener.poll_more(out, at);
  }
  std::optional<Instant> core_next_timeout() const override { return listener.next_timeout(); }

  void core_events(Instant at) override {
    for (bool again = true; again;) {
      again = false;
      while (auto event = listener.poll_event()) {
        again = true;
        std::visit(Overloaded{
                       [&](const session::ClientArrived& arrived) { client_arrived(arrived); },
                       [&](const session::ClientEvent& happened) { client_event(happened); },
                       [&](const session::ClientGone& gone) {
                         close_paths(gone.peer);
                         flows.erase(gone.peer);
                       },
                   },
                   *event);
      }
      for (auto& [peer, client] : flows) {
        session::TunnelLink* link = listener.link(peer);
        while (link != nullptr) {
          const auto event = link->quic().poll_event();
          if (!event) break;
          client->on_event(*event);
        }
      }
    }
    if (stopping && (listener.clients() == 0 || at >= stop_limit)) flush(at + kFlushLimit);
  }

  void client_arrived(const session::ClientArrived& arrived) {
    session::TunnelLink& link = *listener.link(arrived.peer);
    flows[arrived.peer] = std::make_unique<TcpFlows>(
        executor(), link.quic(), [this] { schedule(); },
        [this, peer = arrived.peer](quic::StreamId stream, const tunnel::StreamHeader& header) {
          wanted(peer, stream, header);
        },
        [](std::uint64_t) {});
    observer.on_client(arrived.peer, arrived.key);
    open_paths(arrived.peer, link);
  }

  void client_event(const session::ClientEvent& happened) {
    if (const auto* open = std::get_if<path::OpenSockets>(&happened.event))
      return open_sockets(happened.peer, *open);
    if (const auto* close = std::get_if<path::CloseSockets>(&happened.event))
      return close_sockets(happened.peer, *close);
    if (std::holds_alternative<session::TunnelEnded>(happened.event)) {
      if (const auto found = flows.find(happened.peer); found != flows.end()) found->second->reset_all();
      schedule();
    }
    observer.on_client_event(happened.peer, happened.event);
  }

  // ---- the target ----

  struct Dial {
    Dial(const asio::any_io_executor& where) : socket(where), timer(where) {}
    StreamSocket socket;
    asio::steady_timer timer;
    session::PeerId peer = 0;
    quic::StreamId stream = 0;
    std::size_t next = 0;  // of the endpoints
    bool done = false;
  };

  void wanted(session::PeerId peer, quic::StreamId stream, const tunnel::StreamHeader& header) {
    if (header.forward != 0) return flows.at(peer)->refuse(stream, tunnel::StreamCode::UnknownForward);
    auto dial = std::make_shared<Dial>(executor());
    dial->peer = peer;
    dial->stream = stream;
    dial->timer.expires_after(kConnectLimit);
    dial->timer.async_wait([this, dial, self = shared_from_this()](boost::system::error_code error) {
      if (error || dial->done || is_stopped()) return;
      dial_failed(dial, make_error_code(boost::system::errc::timed_out));
    });
    dial_next(dial);
  }

  void dial_next(const std::shared_ptr<Dial>& dial) {
    boost::system::error_code ignored;
    dial->socket.close(ignored);
    asio::generic::stream_protocol::endpoint to;
    if (options.target.unix_path.empty()) {
      to = asio::ip::tcp::endpoint(to_asio(options.target.endpoints[dial->next].address),
                                   options.target.endpoints[dial->next].port);
    } else {
      to = asio::local::stream_protocol::endpoint(options.target.unix_path);
    }
    ++dial->next;
    dial->socket.async_connect(to, [this, dial, self = shared_from_this()](boost::system::error_code error) {
      if (dial->done || is_stopped()) return;
      if (!error) return connected(dial);
      if (options.target.unix_path.empty() && dial->next < options.target.endpoints.size())
        return dial_next(dial);
      dial_failed(dial, error);
    });
  }

  void connected(const std::shared_ptr<Dial>& dial) {
    dial->done = true;
    dial->timer.cancel();
    prepare_socket(dial->socket);
    const auto found = flows.find(dial->peer);
    if (found == flows.end()) return reset_socket(dial->socket);
    observer.on_connection(dial->peer, found->second->size());
    found->second->attach(dial->stream, std::move(dial->socket));
  }

  void dial_failed(const std::shared_ptr<Dial>& dial, boost::system::error_code error) {
    dial->done = true;
    dial->timer.cancel();
    boost::system::error_code ignored;
    dial->socket.close(ignored);
    const tunnel::StreamCode code = code_for(error);
    observer.on_target_trouble(dial->peer, code, error.message());
    if (const auto found = flows.find(dial->peer); found != flows.end())
      found->second->refuse(dial->stream, code);
  }

  // ---- the end ----

  void begin_stop() {
    if (stopping) return;
    stopping = true;
    stop_limit = now() + kFlushLimit;
    listener.close("the share was stopped", now());
    flush_timer.expires_after(kFlushLimit);
    flush_timer.async_wait([this, self = shared_from_this()](boost::system::error_code) { schedule(); });
    schedule();
  }

  void flush(Instant until) {
    if (is_stopped() || (flushing && !flushed() && now() < flush_until)) return;
    if (!flushing) {
      flushing = true;
      flush_until = until;
    }
    if (!flushed() && now() < flush_until) {
      flush_timer.expires_after(2ms);
      flush_timer.async_wait(
          [this, self = shared_from_this()](boost::system::error_code) { flush(flush_until); });
      return;
    }
    for (auto& [peer, client] : flows) client->reset_all();
    TunnelTransport::stop();
    observer.on_stopped();
  }

  ShareDriverOptions options;
  ShareObserver& observer;
  session::TunnelListener listener;
  std::map<session::PeerId, std::unique_ptr<TcpFlows>> flows;
  asio::steady_timer flush_timer;
  Instant stop_limit{}, flush_until{};
  bool stopping = false, flushing = false;
};

ShareDriver::ShareDriver(asio::any_io_executor executor, ShareDriverOptions options, Rng& rng,
                         ShareObserver& observer)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options), rng, observer)) {}
ShareDriver::~ShareDriver() = default;

void ShareDriver::start() {
  impl_->start();
}
void ShareDriver::stop() {
  impl_->begin_stop();
}

}  // namespace dh::io
