#include "io/session_driver.hh"

#include <array>
#include <deque>
#include <thread>
#include <utility>

#include "base/check.hh"
#include "base/overloaded.hh"
#include "io/clock.hh"
#include "io/direct_paths.hh"
#include "session/lane_watch.hh"

namespace dh::io {
namespace {

constexpr int kPacketsPerTurn = 88;  // two full batches by UDP; then other work gets its turn
constexpr Duration kProgressInterval = 500ms;
constexpr Duration kSilenceNotice = 2s;  // no stall longer than this goes without a word
constexpr Duration kNap = 5s;            // a timer that comes later: this machine was asleep
constexpr Duration kFlushLimit = 500ms;  // for the last packets to leave for the relay

}  // namespace

struct SessionDriver::Impl : std::enable_shared_from_this<Impl> {
  // One relay of the token: forwards what its connection says.
  struct Port final : DerpClientHandler {
    Port(Impl& owner, std::size_t index) : impl(owner), relay(index) {}
    void on_relay_up(const PublicKey&) override {
      impl.session.on_relay_up(relay, now());
      impl.session.on_relay_writable(relay, true);
      impl.schedule();
    }
    void on_relay_down(const std::string& why) override {
      impl.session.on_relay_down(relay, now());
      impl.observer.on_relay_trouble(relay, why);
      impl.schedule();
    }
    void on_packet(const PublicKey& from, ByteSpan bytes) override {
      impl.session.on_relay_packet(relay, from, bytes, now(), wall_now());
      impl.schedule();
    }
    void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) override {
      impl.session.on_peer_gone(relay, peer, reason, now());
      impl.schedule();
    }
    void on_health(const std::string& problem) override {
      if (!problem.empty()) impl.observer.on_relay_trouble(relay, problem);
    }
    void on_writable() override {
      impl.session.on_relay_writable(relay, true);
      impl.schedule();
    }

    Impl& impl;
    std::size_t relay;
    std::unique_ptr<DerpClient> client;
  };

  Impl(asio::any_io_executor executor_in, SessionDriverOptions options_in, Rng& rng_in,
       SessionObserver& observer_in)
      : executor(std::move(executor_in)),
        options(std::move(options_in)),
        rng(rng_in),
        observer(observer_in),
        session(options.session, now(), wall_now(), rng),
        timer(executor),
        progress_timer(executor) {}

  bool sending() const { return options.session.direction == session::Direction::Send; }

  void start() {
    last_turn = now();
    if (session.paths() != nullptr) {
      direct.emplace(
          executor, options.udp_offload, *session.paths(), options.session.token.relays,
          [this](path::SocketId id, const Endpoint& from, ByteSpan datagram, Instant at,
                 const std::optional<bulk::Opened>& ahead) {
            session.on_udp_datagram(id, from, datagram, at, ahead);
          },
          [this] { schedule(); }, [this] { reconnect_relays(); });
      direct->start();
    } else {
      relay_packet.resize(session::Session::kMaxPacketBytes);
    }
    schedule();
    tick_progress();
  }

  // A new uplink: what was open over the old one may hang for a minute before TCP notices.
  void reconnect_relays() {
    for (auto& port : ports)
      if (port) port->client->reconnect_now();
  }

  void schedule() {
    if (turn_scheduled || stopped) return;
    turn_scheduled = true;
    asio::post(executor, [self = shared_from_this()] {
      self->turn_scheduled = false;
      if (!self->stopped) self->turn();
    });
  }

  void turn() {
    const Instant at = now();
    last_turn = at;
    session.on_timeout(at, wall_now());
    start_relays();
    drain_events(at);  // before the stream's end is made: who is there
    if (stopped) return;
    if (sending()) {
      feed_stream();
    } else {
      drain_stream(at);
    }
    feed_messages();
    transmit(at);
    drain_events(at);
    if (stopped) return;
    // The source has more, and what has left made room for it: nobody else would tell.
    if (source && !finish_sent && !source_is_dry && !session.room().empty()) schedule();
    arm();
  }

  void start_relays() {
    const auto& relays = options.session.token.relays;
    for (std::size_t i = 0; i < relays.size(); ++i) {
      if (ports[i] || !session.wants_relay(i)) continue;
      session::RelayRef ref = relays[i];
      if (i == options.own_relay) {
        ref.addresses = {options.own_relay_endpoint.address};
        ref.port = options.own_relay_endpoint.port;
      }
      DerpClientOptions client_options;
      client_options.key = options.session.derp_key;
      client_options.dial = options.dial;
      ports[i] = std::make_unique<Port>(*this, i);
      ports[i]->client =
          std::make_unique<DerpClient>(executor, std::move(ref), std::move(client_options), rng, *ports[i]);
      ports[i]->client->start();
    }
  }

  // stdin -> session. Reading starts when the session is open, so a refused pipe has eaten nothing.
  void feed_stream() {
    source_is_dry = false;
    if (!session.is_open()) return;
    if (!source && !finish_sent) source = options.make_source(notifier());
    while (source && !finish_sent) {
      const ByteSpan room = session.room();
      if (room.empty()) return;
      if (const std::size_t size = source->read(room); size > 0) {
        session.commit(size);
        continue;
      }
      source_is_dry = !source->finished();
      if (source_is_dry) return;
      if (const auto fault = source->fault()) {
        session.abort(fault->code, fault->reason, now());
      } else {
        session.finish();
      }
      finish_sent = true;
    }
  }

  // session -> stdout.
  void drain_stream(Instant at) {
    if (!session.is_open()) return;
    if (!sink) sink = options.make_sink(notifier());
    if (write_failed) return;
    for (;;) {
      const ByteView bytes = session.readable();
      if (bytes.empty()) break;
      const std::size_t taken = sink->write(bytes);
      if (taken == 0) break;
      session.consume(taken, at);
    }
    if (const auto fault = sink->fault()) {
      write_failed = true;
      return session.abort(fault->code, fault->reason, at);
    }
    if (stream_ended && !sink_finishing && session.readable().empty()) {
      sink_finishing = true;
      sink->finish();
    }
    if (sink_finishing && sink->finished() && messages.empty() && !confirmed) {
      confirmed = true;
      session.confirm(at);
    }
  }

  void feed_messages() {
    if (!session.is_open()) return;
    while (!messages.empty() && session.send_message(messages.front(), now())) messages.pop_front();
  }

  std::uint64_t expected_bytes() const {
    if (source) return source->expected_bytes();
    return sink ? sink->expected_bytes() : 0;
  }

  void transmit(Instant at) {
    if (direct) renew_openers();
    for (int i = 0; i < kPacketsPerTurn; ++i) {
      const ByteSpan packet = direct ? direct->room() : ByteSpan(relay_packet);
      if (packet.empty()) return direct->flush();  // goes on when there is room again
      bulk::Seal seal;
      const auto out = session.poll_transmit(packet, at, &seal);
      if (!out) {
        if (direct) direct->flush();
        return;
      }
      if (const auto* by_udp = std::get_if<path::Transmit>(&*out)) {
        direct->send(*by_udp, ByteView(packet).first(by_udp->size), std::move(seal));
        continue;
      }
      const auto& by_relay = std::get<session::Session::RelayTransmit>(*out);
      Port* port = ports[by_relay.relay].get();
      if (port == nullptr) continue;
      port->client->send(by_relay.to, ByteView(packet).first(by_relay.size));
      if (!port->client->writable()) session.on_relay_writable(by_relay.relay, false);
    }
    if (direct) direct->flush();
    schedule();
  }

  // The receive threads open with the keys of the moment, each with its own copy.
  void renew_openers() {
    UdpSockets& sockets = direct->sockets();
    const std::uint64_t version = session.openers_version() + sockets.receive_threads();
    if (version == std::exchange(openers_version, version)) return;
    for (std::size_t i = 0; i < sockets.receive_threads(); ++i) sockets.use(i, session.ahead_openers());
  }

  void spread_lanes() {
    if (!direct) return;
    if (sending()) {
      direct->sockets().send_lanes(lanes);
    } else if (route_socket) {
      direct->sockets().receive_lanes(*route_socket, lanes);
      session.set_socket_capacity(direct->counters().receive_buffer_bytes, now());
      schedule();
    }
  }

  void watch_lanes(Instant at) {
    if (!direct) return;
    const UdpCounters& udp = direct->counters();
    const std::vector<Duration> cpu_times = direct->sockets().lane_cpu_times();
    const bool more = lane_watch.on_sample(
        {.cpu_times = cpu_times, .messages = udp.messages_in, .dropped = udp.receive_dropped}, at);
    if (!more || !route_socket) return;
    session.want_lane(at);
    schedule();
  }

  void drain_events(Instant at) {
    while (auto event = session.poll_event()) {
      std::visit(Overloaded{
                     [&](const session::ClaimedBy& claimed) {
                       opened_at = at;
                       observer.on_claimed(claimed.binding);
                       schedule();
                     },
                     [&](const session::RelayInUse& use) {
                       observer.on_relay_path(use.relay, options.session.token.relays[use.relay]);
                     },
                     [&](const session::DirectInUse& use) {
                       route_socket = use.route.socket;
                       spread_lanes();
                       observer.on_direct_path(use.route);
                     },
                     [&](const session::LanesInUse& use) {
                       lanes = use.lanes;
                       spread_lanes();
                     },
                     [&](const session::DirectLost& lost) {
                       route_socket.reset();
                       observer.on_direct_lost(lost.why);
                     },
                     [&](const session::OpenSockets& open) {
                       direct->open(open);
                       schedule();
                     },
                     [&](const session::CloseSockets& close) { direct->close(close); },
                     [&](const session::PeerSilent& silent) { silent_since = silent.since; },
                     [&](const session::PeerBack& back) {
                       silent_since.reset();
                       if (silence_told) observer.on_back(back.silent_for);
                       silence_told = false;
                     },
                     [&](const session::StreamReadable&) {
                       stream_ended = true;
                       schedule();
                     },
                     [&](const session::PeerMessage& message) { observer.on_message(message.bytes); },
                     [&](const session::SessionEnded& ended) { finish(ended, at); },
                 },
                 *event);
      if (stopped) return;
    }
  }

  void arm() {
    const auto next = session.next_timeout();
    if (!next) {
      timer.cancel();
      armed_for.reset();
      return;
    }
    // One that comes too early costs a turn; deadlines that move away with every ack cost a system call each.
    if (armed_for && *armed_for <= *next) return;
    armed_for = *next;
    timer.expires_after(std::max<Duration>(*next - now(), Duration::zero()));
    timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (error || self->stopped) return;
      self->armed_for.reset();
      self->schedule();
    });
  }

  void tick_progress() {
    const Instant ticked = now();
    progress_timer.expires_after(kProgressInterval);
    progress_timer.async_wait([ticked, self = shared_from_this()](boost::system::error_code error) {
      if (error || self->stopped) return;
      // Our clock goes on while the machine sleeps, timers do not.
      if (now() - ticked > kProgressInterval + kNap) {
        if (self->direct) self->direct->on_resume();
      }
      if (self->opened_at) {
        self->observer.on_progress(self->session.counters().stream.stream_bytes, self->expected_bytes());
        const Instant at = now();
        self->watch_lanes(at);
        self->observer.on_path_check(self->session);
        if (self->silent_since && at - *self->silent_since >= kSilenceNotice) {
          self->silence_told = true;
          self->observer.on_silent(at - *self->silent_since);
        }
      }
      self->tick_progress();
    });
  }

  // The session has said its last word; let it reach the relay, then tell the command.
  void finish(const session::SessionEnded& ended, Instant at) {
    stopped = true;
    timer.cancel();
    progress_timer.cancel();
    flush_until = at + kFlushLimit;
    result = ended;
    direct_stopped = !direct;
    if (direct)
      direct->stop([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->direct_stopped = true;
      });
    const Duration open_for = opened_at ? at - *opened_at : Duration::zero();
    flush(open_for);
  }

  void flush(Duration open_for) {  // of the relays; what went out by UDP is gone already
    bool flushed = direct_stopped;
    for (const auto& port : ports)
      flushed = flushed && (!port || !port->client->is_up() || port->client->flushed());
    if (flushed || now() >= flush_until) {
      SessionReport report{.counters = session.counters(),
                           .udp = {},
                           .congestion = session.controller_report(),
                           .open_for = open_for};
      if (direct) report.udp = direct->counters();
      close();
      observer.on_ended(*result, report);
      return;
    }
    timer.expires_after(1ms);
    timer.async_wait(
        [self = shared_from_this(), open_for](boost::system::error_code) { self->flush(open_for); });
  }

  void close() {
    stopped = true;
    timer.cancel();
    progress_timer.cancel();
    for (auto& port : ports) {
      if (port) port->client->stop();
    }
    direct.reset();
    source.reset();
    sink.reset();
  }

  PumpNotify notifier() {
    // From the pump's thread: at most one posted turn at a time.
    return [weak = weak_from_this(), pending = std::make_shared<std::atomic<bool>>(false), where = executor] {
      if (pending->exchange(true)) return;
      asio::post(where, [weak, pending] {
        pending->store(false);
        if (auto self = weak.lock(); self && !self->stopped) self->turn();
      });
    };
  }

  asio::any_io_executor executor;
  SessionDriverOptions options;
  Rng& rng;
  SessionObserver& observer;
  session::Session session;
  asio::steady_timer timer;
  asio::steady_timer progress_timer;
  Bytes relay_packet;  // without direct paths
  std::array<std::unique_ptr<Port>, session::kMaxRelays> ports;
  std::optional<DirectPaths> direct;
  std::unique_ptr<StreamSource> source;
  std::unique_ptr<StreamSink> sink;
  std::deque<Bytes> messages;  // not yet with the session
  session::LaneWatch lane_watch{std::thread::hardware_concurrency()};
  std::optional<path::SocketId> route_socket;  // of the direct path in use
  std::size_t lanes = 1;
  std::uint64_t openers_version = 0;
  std::optional<Instant> armed_for, opened_at, silent_since;
  std::optional<session::SessionEnded> result;
  Instant last_turn{}, flush_until{};
  bool turn_scheduled = false, stopped = false;
  bool finish_sent = false, write_failed = false, stream_ended = false, sink_finishing = false,
       confirmed = false;
  bool source_is_dry = false;  // it will notify
  bool silence_told = false, direct_stopped = false;
};

SessionDriver::SessionDriver(asio::any_io_executor executor, SessionDriverOptions options, Rng& rng,
                             SessionObserver& observer)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options), rng, observer)) {}

SessionDriver::~SessionDriver() {
  impl_->close();
}

void SessionDriver::start() {
  impl_->start();
}

void SessionDriver::cancel(std::string reason) {
  abort(bulk::AbortCode::Cancelled, std::move(reason));
}

void SessionDriver::abort(bulk::AbortCode code, std::string reason) {
  impl_->session.abort(code, std::move(reason), now());
  impl_->schedule();
}

void SessionDriver::send_message(Bytes message) {
  impl_->messages.push_back(std::move(message));
  impl_->schedule();
}

}  // namespace dh::io
