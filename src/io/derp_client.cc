#include "io/derp_client.hh"

#include <algorithm>

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/http_upgrade.hh"
#include "io/reconnect_backoff.hh"
#include "io/relay_link.hh"
#include "io/stream_deadline.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr Duration kMaxRestartWait = 60s;  // a relay that asks for more is not waited for longer

// One stretch of trying, from start() or reconnect_now() to the next of them or stop().
struct Run {
  explicit Run(const asio::any_io_executor& executor) : pause(executor) {}
  asio::cancellation_signal cancel;  // of its coroutine
  asio::steady_timer pause;          // between tries
  std::shared_ptr<RelayLink> link;   // while upgraded
  ByteStream* opening = nullptr;     // while upgrading
  bool abandoned = false;
  bool up = false;
  std::optional<Duration> rtt;
};

struct AttemptResult {
  AttemptEnd end = AttemptEnd::Unreachable;
  std::string why;
  Duration up_for{};
  std::optional<Duration> restart_in;
};

// What the stream is while the upgrade owns it, for whoever abandons the run meanwhile.
struct Opening {
  Opening(std::shared_ptr<Run> owner, ByteStream* stream) : run(std::move(owner)) { run->opening = stream; }
  ~Opening() { run->opening = nullptr; }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;
  std::shared_ptr<Run> run;
};

std::string sentence(const std::string& who, const LinkEnd& end) {
  if (!end.error) return "the connection to " + who + " broke: " + end.message;
  switch (*end.error) {
    case derp::ClientError::NotDerp:
      return who + " does not speak DERP: no relay, or a filter of this network in between";
    case derp::ClientError::Rejected:
      return who + " closed the connection at login: it may admit only its own users";
    case derp::ClientError::BadServerInfo:
      return who +
             " sent a login answer that does not open: its key and its certificate may not belong together";
    case derp::ClientError::FrameTooLong:
      return who + " sent a frame longer than DERP allows";
    case derp::ClientError::LoginTimeout:
      return who + " did not answer the login in time";
    case derp::ClientError::Silent:
      return who + " stopped answering";
    case derp::ClientError::Eof:
      return who + " closed the connection";
  }
  return who + " is gone";
}

DialTarget target_of(const session::RelayRef& relay) {
  DialTarget target;
  target.host = relay.host;
  target.port = relay.port;
  target.tls = !relay.plain_http;
  target.addresses = relay.addresses;
  target.pin = relay.pin;
  return target;
}

}  // namespace

// Where the transports are tried, until one works; that one is kept.
//   FastStart --not DERP--> Upgrade --not DERP--> WebSocket --not DERP--> FastStart
struct DerpClient::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::any_io_executor ex, session::RelayRef ref, DerpClientOptions opts, Rng& random,
       DerpClientHandler& owner)
      : executor(std::move(ex)),
        relay(std::move(ref)),
        options(std::move(opts)),
        rng(random),
        handler(owner),
        transport(options.force_websocket ? DerpTransport::WebSocket : DerpTransport::FastStart),
        host(host_header(relay.host, relay.port, !relay.plain_http)),
        who("the relay " + printable(host)) {}

  void begin(std::string down_first);
  void abandon();
  static asio::awaitable<void> try_forever(std::shared_ptr<Impl> self, std::shared_ptr<Run> mine,
                                           std::string down_first);
  asio::awaitable<AttemptResult> attempt(std::shared_ptr<Run> mine);
  asio::awaitable<AttemptResult> live(std::shared_ptr<Run> mine, std::unique_ptr<ByteStream> stream,
                                      std::unique_ptr<derp::ClientCore> core, Bytes begun, DerpTransport used,
                                      Instant deadline);
  void on_event(Run& mine, derp::ClientEvent& event, AttemptResult& result);
  void give_up_on(DerpTransport used);
  derp::ClientConfig core_config() const;

  asio::any_io_executor executor;
  session::RelayRef relay;
  DerpClientOptions options;
  Rng& rng;
  DerpClientHandler& handler;  // not called once the run is abandoned
  DerpTransport transport;
  std::string host;  // as in the Host header
  std::string who;   // the relay in sentences
  ReconnectBackoff backoff;
  DerpClientCounters counters;
  std::shared_ptr<Run> run;  // none: stopped
};

void DerpClient::Impl::begin(std::string down_first) {
  run = std::make_shared<Run>(executor);
  asio::co_spawn(executor, try_forever(shared_from_this(), run, std::move(down_first)),
                 asio::bind_cancellation_slot(run->cancel.slot(), [held = run](std::exception_ptr) {
                   // Only a cancelled run throws: it unwinds by operation_aborted.
                 }));
}

void DerpClient::Impl::abandon() {
  if (!run) return;
  const std::shared_ptr<Run> old = std::move(run);
  run = nullptr;
  old->abandoned = true;
  old->up = false;
  if (old->link) std::exchange(old->link, nullptr)->close();
  if (old->opening != nullptr) old->opening->close();
  old->pause.cancel();
  old->cancel.emit(asio::cancellation_type::terminal);
  // Called from outside the executor, co_spawn's handler in the signal only posts a use of itself: keep both
  // until that has run.
  asio::post(executor, [old] {});
}

asio::awaitable<void> DerpClient::Impl::try_forever(std::shared_ptr<Impl> self, std::shared_ptr<Run> mine,
                                                    std::string down_first) {
  co_await asio::post(self->executor, asio::use_awaitable);  // no callback from inside start()
  if (!down_first.empty() && !mine->abandoned) self->handler.on_relay_down(down_first);
  while (!mine->abandoned) {
    ++self->counters.attempts;
    const AttemptResult result = co_await self->attempt(mine);
    mine->link = nullptr;
    mine->up = false;
    mine->rtt.reset();
    if (mine->abandoned) co_return;
    if (result.end == AttemptEnd::Rejected) ++self->counters.rejections;
    Duration wait = self->backoff.next(result.end, result.up_for, self->rng);
    if (result.restart_in) wait = std::max(wait, *result.restart_in);
    mine->pause.expires_after(wait);
    self->handler.on_relay_down(result.why);
    if (mine->abandoned) co_return;
    co_await mine->pause.async_wait(use_result);
  }
}

derp::ClientConfig DerpClient::Impl::core_config() const {
  derp::ClientConfig config;
  config.key = options.key;
  config.app_name = options.app_name;
  config.home = options.home;
  config.ping_interval = options.ping_interval;
  return config;
}

asio::awaitable<AttemptResult> DerpClient::Impl::attempt(std::shared_ptr<Run> mine) {
  AttemptResult result;
  const Instant deadline = now() + options.dial.timeout;
  auto dialed = co_await dial(target_of(relay), options.dial);
  if (!dialed) {
    result.why = std::move(dialed.error().message);
    co_return result;
  }
  DerpTransport used = transport;
  if (used == DerpTransport::FastStart && !dialed->meta_key) used = DerpTransport::Upgrade;

  UpgradeError error;
  bool refused = false, late = false;
  std::unique_ptr<ByteStream> stream = std::move(dialed->stream);
  std::unique_ptr<derp::ClientCore> core;
  Bytes begun;
  {
    ByteStream* const raw = stream.get();  // lives on inside a WebSocket
    const Opening opening(mine, raw);
    const StreamDeadline patience(executor, deadline, [raw] { raw->close(); });
    if (used == DerpTransport::WebSocket) {
      auto socket = co_await upgrade_to_websocket(std::move(stream), host);
      refused = !socket;
      if (socket)
        stream = std::move(*socket);
      else
        error = std::move(socket.error());
    } else {
      derp::ClientConfig config = core_config();
      Bytes login;
      if (used == DerpTransport::FastStart) {
        config.server_key = dialed->meta_key;
        core = std::make_unique<derp::ClientCore>(config, now(), rng);
        core->take_output(login);
      }
      auto upgraded = co_await upgrade_to_derp(*stream, host, std::move(login));
      refused = !upgraded;
      if (upgraded)
        begun = std::move(*upgraded);
      else
        error = std::move(upgraded.error());
    }
    late = patience.expired();
  }
  if (late) {
    result.why = who + " was reached, but did not answer the DERP request in time";
    co_return result;
  }
  if (refused) {
    if (error.not_derp) give_up_on(used);
    result.why = "the relay " + error.message;
    co_return result;
  }
  if (!core) core = std::make_unique<derp::ClientCore>(core_config(), now(), rng);
  result = co_await live(mine, std::move(stream), std::move(core), std::move(begun), used, deadline);
  co_return result;
}

asio::awaitable<AttemptResult> DerpClient::Impl::live(std::shared_ptr<Run> mine,
                                                      std::unique_ptr<ByteStream> stream,
                                                      std::unique_ptr<derp::ClientCore> core, Bytes begun,
                                                      DerpTransport used, Instant deadline) {
  AttemptResult result;
  auto link = std::make_shared<RelayLink>(executor, std::move(stream), std::move(core), options.high_mark);
  mine->link = link;
  std::optional<Instant> up_since;
  bool late = false;
  std::optional<StreamDeadline> patience;
  patience.emplace(executor, deadline, [&late, raw = link.get()] {
    late = true;
    raw->interrupt();
  });
  // The callbacks hold references into this frame: the link calls none after its close(), which comes before
  // this frame goes, here or in abandon().
  RelayLink::OnEvent on_link_event = [&, this](derp::ClientEvent& event) {
    if (std::holds_alternative<derp::LoggedIn>(event)) {
      patience.reset();
      up_since = now();
      ++counters.logins;
      if (used == DerpTransport::WebSocket) ++counters.websockets;
      if (used == DerpTransport::FastStart) ++counters.fast_starts;
    }
    on_event(*mine, event, result);
  };
  RelayLink::OnDrained on_drained = [this, &mine] {
    if (mine->up) handler.on_writable();
  };
  const LinkEnd end = co_await link->run(std::move(begun), std::move(on_link_event), std::move(on_drained));
  if (up_since) {
    result.end = AttemptEnd::Lost;
    result.up_for = now() - *up_since;
  } else if (!late && end.error == derp::ClientError::Rejected) {
    result.end = AttemptEnd::Rejected;
  }
  if (!up_since && end.error == derp::ClientError::NotDerp) give_up_on(used);
  result.why = late ? who + " did not answer the login in time" : sentence(who, end);
  co_return result;
}

void DerpClient::Impl::on_event(Run& mine, derp::ClientEvent& event, AttemptResult& result) {
  if (const auto* login = std::get_if<derp::LoggedIn>(&event)) {
    mine.up = true;
    handler.on_relay_up(login->server_key);
  } else if (auto* packet = std::get_if<derp::PacketReceived>(&event)) {
    handler.on_packet(packet->from, packet->bytes);
  } else if (const auto* gone = std::get_if<derp::PeerGone>(&event)) {
    handler.on_peer_gone(gone->peer, gone->reason);
  } else if (const auto* health = std::get_if<derp::Health>(&event)) {
    handler.on_health(printable(health->problem));
  } else if (const auto* restarting = std::get_if<derp::Restarting>(&event)) {
    result.restart_in = std::clamp(restarting->reconnect_in, Duration(0), kMaxRestartWait);
  } else if (const auto* pong = std::get_if<derp::PongReceived>(&event)) {
    mine.rtt = pong->rtt;
  }
}

void DerpClient::Impl::give_up_on(DerpTransport used) {
  if (options.force_websocket) return;
  switch (used) {
    case DerpTransport::FastStart:
      transport = DerpTransport::Upgrade;
      break;
    case DerpTransport::Upgrade:
      transport = DerpTransport::WebSocket;
      break;
    case DerpTransport::WebSocket:
      transport = DerpTransport::FastStart;
      break;
  }
}

DerpClient::DerpClient(asio::any_io_executor executor, session::RelayRef relay, DerpClientOptions options,
                       Rng& rng, DerpClientHandler& handler)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(relay), std::move(options), rng, handler)) {
}

DerpClient::~DerpClient() {
  impl_->abandon();
}

void DerpClient::start() {
  if (!impl_->run) impl_->begin({});
}

void DerpClient::stop() {
  impl_->abandon();
}

void DerpClient::reconnect_now() {
  if (!impl_->run) return;
  const bool was_up = impl_->run->up;
  impl_->abandon();
  impl_->backoff.reset();
  impl_->begin(was_up ? impl_->who + " is being reconnected" : std::string());
}

bool DerpClient::is_up() const {
  return impl_->run && impl_->run->up;
}

bool DerpClient::flushed() const {
  return !is_up() || !impl_->run->link || impl_->run->link->queued() == 0;
}

bool DerpClient::writable() const {
  return is_up() && impl_->run->link && impl_->run->link->queued() < impl_->options.high_mark;
}

bool DerpClient::send(const PublicKey& to, ByteView packet) {
  if (!is_up() || !impl_->run->link) return false;
  const derp::SendResult result = impl_->run->link->send(to, packet);
  return result == derp::SendResult::Queued || result == derp::SendResult::RateLimited;
}

std::optional<Duration> DerpClient::rtt() const {
  return impl_->run ? impl_->run->rtt : std::nullopt;
}

const DerpClientCounters& DerpClient::counters() const {
  return impl_->counters;
}

}  // namespace dh::io
