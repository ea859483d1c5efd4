#include "io/tunnel_transport.hh"

#include "io/clock.hh"

namespace dh::io {
namespace {

constexpr int kPacketsPerCall = 44;                   // of 1,400 bytes: what the kernel takes in one call
constexpr int kPacketsPerTurn = 2 * kPacketsPerCall;  // then other work gets its turn
constexpr Duration kAtOnce = 1us;  // a turn later is sooner than a timer, which costs two system calls
constexpr Duration kSleepCheck = 1s;
constexpr Duration kNap = 5s;  // a timer that comes later: this machine was asleep

}  // namespace

struct TunnelTransport::Port final : DerpClientHandler {
  Port(TunnelTransport& owner_in, std::size_t index) : owner(owner_in), relay(index) {}
  void on_relay_up(const PublicKey&) override {
    owner.relay_up(relay);
    owner.relay_writable(relay, true);
    owner.schedule();
  }
  void on_relay_down(const std::string& why) override {
    owner.relay_down(relay, why);
    owner.schedule();
  }
  void on_packet(const PublicKey& from, ByteSpan bytes) override {
    owner.relay_packet(relay, from, bytes);
    owner.schedule();
  }
  void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) override {
    owner.peer_gone(relay, peer, reason);
    owner.schedule();
  }
  void on_health(const std::string&) override {}
  void on_writable() override {
    owner.relay_writable(relay, true);
    owner.schedule();
  }

  TunnelTransport& owner;
  std::size_t relay;
  std::unique_ptr<DerpClient> client;
};

TunnelTransport::TunnelTransport(asio::any_io_executor executor, TunnelTransportOptions options, Rng& rng)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      rng_(rng),
      timer_(executor_),
      sleep_timer_(executor_),
      packet_(session::Session::kMaxPacketBytes) {}

TunnelTransport::~TunnelTransport() = default;

void TunnelTransport::start() {
  schedule();
  watch_sleep();
}

void TunnelTransport::schedule() {
  if (turn_scheduled_ || stopped_) return;
  turn_scheduled_ = true;
  asio::post(executor_, [self = shared_from_this()] {
    self->turn_scheduled_ = false;
    if (!self->stopped_) self->turn();
  });
}

void TunnelTransport::turn() {
  const Instant at = now();
  core_timeout(at);
  start_relays();
  core_events(at);
  if (stopped_) return;
  transmit(at);
  core_events(at);
  if (!stopped_) arm();
}

void TunnelTransport::start_relays() {
  for (std::size_t i = 0; i < options_.relays.size(); ++i) {
    if (ports_[i] || !wants_relay(i)) continue;
    session::RelayRef ref = options_.relays[i];
    if (i == options_.own_relay) {
      ref.addresses = {options_.own_relay_endpoint.address};
      ref.port = options_.own_relay_endpoint.port;
    }
    DerpClientOptions client;
    client.key = options_.derp_key;
    client.dial = options_.dial;
    ports_[i] = std::make_unique<Port>(*this, i);
    ports_[i]->client =
        std::make_unique<DerpClient>(executor_, std::move(ref), std::move(client), rng_, *ports_[i]);
    ports_[i]->client->start();
  }
}

void TunnelTransport::transmit(Instant at) {
  bool more = true;
  for (int i = 0; i < kPacketsPerTurn; ++i) {
    const ByteSpan packet = room();
    const auto out = core_transmit(packet, at);
    if (!out) {
      more = false;
      break;
    }
    if (const auto* by_udp = std::get_if<path::Transmit>(&out->what)) {
      last_sent_to_ = out->peer;
      const auto found = paths_.find(out->peer);
      if (found == paths_.end()) continue;
      DirectPaths& paths = *found->second;
      path::Transmit next = *by_udp;
      paths.send(next, ByteView(packet).first(next.size));
      // Mostly more follows to the same place: as much as leaves in one call, then other peers get their
      // turn.
      for (int more_of_it = 1; more_of_it < kPacketsPerCall && i < kPacketsPerTurn; ++more_of_it, ++i) {
        const ByteSpan free = paths.room();
        const auto size = core_more(free, at);
        if (!size) break;
        next.size = *size;
        paths.send(next, ByteView(free).first(*size));
      }
      continue;
    }
    const auto& by_relay = std::get<session::Session::RelayTransmit>(out->what);
    Port* port = ports_[by_relay.relay].get();
    if (port == nullptr) continue;
    port->client->send(by_relay.to, ByteView(packet).first(by_relay.size));
    if (!port->client->writable()) relay_writable(by_relay.relay, false);
  }
  for (auto& [peer, paths] : paths_) paths->flush();
  if (more) schedule();
}

// Where the next datagram most likely leaves from, so that it need not be copied there.
ByteSpan TunnelTransport::room() {
  const auto likely = paths_.find(last_sent_to_);
  return likely == paths_.end() ? ByteSpan(packet_) : likely->second->room();
}

// A timer that is set for earlier stays: it finds nothing to do once, which costs less than setting it anew
// with every packet.
void TunnelTransport::arm() {
  const auto next = core_next_timeout();
  if (!next) {
    timer_.cancel();
    armed_for_.reset();
    return;
  }
  if (armed_for_ && *armed_for_ <= *next) return;
  const Duration until = *next - now();
  if (until <= kAtOnce) return schedule();
  armed_for_ = next;
  timer_.expires_after(until);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->stopped_) return;
    self->armed_for_.reset();
    self->schedule();
  });
}

// Our clock goes on while the machine sleeps, timers do not.
void TunnelTransport::watch_sleep() {
  sleep_timer_.expires_after(kSleepCheck);
  sleep_timer_.async_wait([begun = now(), self = shared_from_this()](boost::system::error_code error) {
    if (error || self->stopped_) return;
    if (now() - begun > kSleepCheck + kNap) {
      for (auto& port : self->ports_)
        if (port) port->client->reconnect_now();
      for (auto& [peer, paths] : self->paths_) paths->on_resume();
      self->schedule();
    }
    self->watch_sleep();
  });
}

void TunnelTransport::open_paths(session::PeerId peer, session::TunnelLink& link) {
  if (link.paths() == nullptr) return;
  UdpOffload offload = options_.udp_offload;
  offload.send_thread = offload.receive_thread = false;  // QUIC seals what it sends, and peers may be many
  auto paths = std::make_unique<DirectPaths>(
      executor_, offload, *link.paths(), options_.relays,
      [&link](path::SocketId socket, const Endpoint& from, ByteSpan datagram, Instant at, const auto&) {
        link.on_udp_datagram(socket, from, datagram, at);
      },
      [this] { schedule(); },
      [this] {
        for (auto& port : ports_)
          if (port) port->client->reconnect_now();
      });
  DirectPaths& started = *paths;
  paths_[peer] = std::move(paths);
  started.start();
}

void TunnelTransport::close_paths(session::PeerId peer) {
  const auto found = paths_.find(peer);
  if (found == paths_.end()) return;
  found->second->flush();
  found->second->stop([] {});
  paths_.erase(found);
}

void TunnelTransport::open_sockets(session::PeerId peer, const path::OpenSockets& wanted) {
  if (const auto found = paths_.find(peer); found != paths_.end()) found->second->open(wanted);
  schedule();
}

void TunnelTransport::close_sockets(session::PeerId peer, const path::CloseSockets& unwanted) {
  if (const auto found = paths_.find(peer); found != paths_.end()) found->second->close(unwanted);
}

bool TunnelTransport::flushed() const {
  for (const auto& port : ports_)
    if (port && port->client->is_up() && !port->client->flushed()) return false;
  return true;
}

void TunnelTransport::stop() {
  stopped_ = true;
  timer_.cancel();
  sleep_timer_.cancel();
  for (auto& port : ports_)
    if (port) port->client->stop();
  paths_.clear();
}

}  // namespace dh::io
