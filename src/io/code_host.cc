#include <algorithm>
#include <array>
#include <utility>

#include "io/clock.hh"
#include "io/code_meeting.hh"
#include "io/derp_client.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

constexpr int kDrawings = 3;                // three collisions in a row are a relay that tells nothing
constexpr Duration kLastWordsTime = 500ms;  // a refusal leaves before the lines are closed

}  // namespace

struct CodeHost::Impl : std::enable_shared_from_this<Impl> {
  // One login, and the core's ear on it.
  struct Line final : DerpClientHandler {
    Line(Impl& host, session::CodeLine which) : impl(host), line(which) {}
    void on_relay_up(const PublicKey&) override {
      if (impl.core) impl.core->on_line_up(line, now());
      impl.drain();
    }
    void on_relay_down(const std::string& why) override {
      if (impl.core) impl.core->on_line_down(line, now());
      if (!impl.stopped) impl.observer.on_code_trouble(why);
      impl.drain();
    }
    void on_packet(const PublicKey& from, ByteSpan bytes) override {
      if (impl.core) impl.core->on_packet(line, from, bytes, now());
      impl.drain();
    }
    void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) override {
      if (impl.core) impl.core->on_peer_gone(line, peer, reason, now());
      impl.drain();
    }
    void on_health(const std::string& problem) override {
      if (impl.core) impl.core->on_health(line, problem, now());
      impl.drain();
    }
    void on_writable() override {}

    Impl& impl;
    session::CodeLine line;
    std::unique_ptr<DerpClient> client;
  };

  Impl(asio::any_io_executor ex, CodeHostOptions opts, Rng& random, CodeObserver& owner)
      : executor(std::move(ex)),
        options(std::move(opts)),
        rng(random),
        observer(owner),
        timer(executor),
        closing(executor) {}

  std::string place() const {
    if (options.own_relay && options.relay.pin) return session::place_on_lan(*options.relay.pin);
    return options.relay.region != 0 ? session::place_of_region(options.relay.region)
                                     : session::place_of_server(options.relay);
  }

  // The relay is dialled at the address its answer comes from: it must listen there.
  LanGroups lan_groups() const {
    LanGroups groups = options.lan;
    const auto& addresses = options.relay.addresses;
    const auto v4 = [](const IpAddress& address) { return address.is_v4(); };
    if (addresses.empty()) return groups;
    groups.use_v4 = groups.use_v4 && std::any_of(addresses.begin(), addresses.end(), v4);
    groups.use_v6 = groups.use_v6 && !std::all_of(addresses.begin(), addresses.end(), v4);
    return groups;
  }

  // New words, and nothing left of the old ones.
  void draw() {
    if (stopped) return;
    ++drawings;
    close_lines();
    responder.reset();
    const UnixSeconds wall = wall_now();
    code.emplace(session::draw_code(options.own_relay ? 0 : options.relay.region, options.words, rng));
    session::CodeSenderConfig config;
    config.secret_text = code->secret_text();
    config.place = place();
    config.token_text = options.token_text;
    config.life = options.life;
    config.self_check_every = options.self_check_every;
    const std::int64_t hour = session::meeting_hour(wall);
    const auto key = session::meeting_key(*code, config.place, hour, options.stretch);
    if (!key) return out_of_memory();
    config.meeting_key = *key;
    config.bell_key = KeyPair::generate(rng);
    keys = {config.bell_key, config.meeting_key};
    if (options.own_relay && options.relay.pin) {
      const auto lan = session::lan_keys(*code, hour, options.stretch);
      if (!lan) return out_of_memory();
      responder.emplace(executor, session::LanAnswerer(*lan, {options.relay.port, *options.relay.pin}, rng),
                        lan_groups());
    }
    drawn_at = now();
    core.emplace(std::move(config), drawn_at, rng);
    drain();
  }
  void out_of_memory() {
    observer.on_code_trouble("there is not enough memory (64 MiB) to make a code");
    end(session::CodeEnd::Expired);
  }

  void drain() {
    if (stopped || !core) return;
    const auto self = shared_from_this();  // the observer may let go of the host
    while (auto out = core->poll_transmit())
      if (Line* line = lines[static_cast<std::size_t>(out->line)].get())
        line->client->send(out->to, out->packet);
    while (auto event = core->poll_event()) {
      on_event(*event);
      if (stopped || !core) return;
    }
    // The lines are never made or dropped from inside their own callbacks.
    if (!syncing) {
      syncing = true;
      asio::post(executor, [self = shared_from_this()] {
        self->syncing = false;
        self->sync_lines();
      });
    }
    arm_timer();
  }

  void on_event(const session::CodeSenderEvent& event) {
    if (std::holds_alternative<session::CodeReady>(event)) {
      observer.on_code(*code, options.life - (now() - drawn_at));
    } else if (const auto* wrong = std::get_if<session::CodeWrongTry>(&event)) {
      observer.on_code_wrong_try(wrong->number, wrong->of);
    } else if (std::holds_alternative<session::CodeHandedOver>(event)) {
      observer.on_code_used();
    } else if (const auto* last = std::get_if<session::CodeEnded>(&event)) {
      if (last->end == session::CodeEnd::WordsInUse && drawings < kDrawings)
        asio::post(executor, [self = shared_from_this()] { self->draw(); });
      else
        end(last->end);
    }
  }
  void end(session::CodeEnd reason) {
    responder.reset();
    timer.cancel();
    closing.expires_after(kLastWordsTime);
    closing.async_wait([self = shared_from_this()](const error_code& ec) {
      if (!ec) self->close_lines();
    });
    core_counters = core ? core->counters() : session::CodeSenderCounters{};
    ended = true;
    observer.on_code_ended(reason);
  }

  void sync_lines() {
    if (stopped || ended || !core) return;
    for (const auto which : {session::CodeLine::Bell, session::CodeLine::Meeting}) {
      auto& line = lines[static_cast<std::size_t>(which)];
      if (core->wants_line(which) == (line != nullptr)) continue;
      if (line) {
        line.reset();
        core->on_line_down(which, now());
        continue;
      }
      session::RelayRef relay = options.relay;
      if (options.own_relay) {
        relay.addresses = {options.own_relay->address};
        relay.port = options.own_relay->port;
      }
      DerpClientOptions client;
      client.key = keys[static_cast<std::size_t>(which)];
      client.dial = options.dial;
      line = std::make_unique<Line>(*this, which);
      line->client = std::make_unique<DerpClient>(executor, std::move(relay), std::move(client), rng, *line);
      line->client->start();
    }
    arm_timer();
  }
  void close_lines() {
    for (auto& line : lines) line.reset();
  }

  void arm_timer() {
    const auto due = ended ? std::nullopt : core->next_timeout();
    if (!due) return timer.cancel(), void();
    timer.expires_after(std::max(*due - now(), Duration(0)));
    timer.async_wait([weak = weak_from_this()](const error_code& ec) {
      const auto self = weak.lock();
      if (ec || !self || self->stopped || self->ended || !self->core) return;
      self->core->on_timeout(now());
      self->drain();
    });
  }

  void stop() {
    if (std::exchange(stopped, true)) return;
    timer.cancel();
    closing.cancel();
    responder.reset();
    close_lines();
  }

  asio::any_io_executor executor;
  CodeHostOptions options;
  Rng& rng;
  CodeObserver& observer;
  asio::steady_timer timer;
  asio::steady_timer closing;
  std::optional<session::Code> code;
  std::array<KeyPair, 2> keys;  // by CodeLine
  std::array<std::unique_ptr<Line>, 2> lines;
  std::optional<session::CodeSender> core;
  session::CodeSenderCounters core_counters;
  std::optional<LanResponder> responder;
  Instant drawn_at{};
  int drawings = 0;
  bool syncing = false, stopped = false, ended = false;
};

CodeHost::CodeHost(asio::any_io_executor executor, CodeHostOptions options, Rng& rng, CodeObserver& observer)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options), rng, observer)) {}

CodeHost::~CodeHost() {
  impl_->stop();
}

void CodeHost::start() {
  asio::post(impl_->executor, [impl = impl_] { impl->draw(); });
}

void CodeHost::stop() {
  impl_->stop();
}

session::CodeSenderCounters CodeHost::counters() const {
  return impl_->ended || !impl_->core ? impl_->core_counters : impl_->core->counters();
}

}  // namespace dh::io
