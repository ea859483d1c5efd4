#include "io/relay_engine.hh"

#include <cerrno>
#include <stdexcept>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.hh"
#include "io/relay_limits.hh"

namespace dh::io {
namespace {

constexpr std::uint64_t kTimerTag = 0;
constexpr std::uint64_t kFirstConnection = 1u << 16;  // below: 1 + index of a listener

}  // namespace

RelayEngine::RelayEngine(const DerpServerOptions& options, std::unique_ptr<TlsServerContext> tls,
                         ShellCounters& shell, Instant now, Rng& rng)
    : options_(options),
      tls_(std::move(tls)),
      shell_(shell),
      core_(options.core, options.key, now, rng),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)),
      next_id_(kFirstConnection),
      read_buffer_(kReadBytes),
      plain_buffer_(kRecordBytes) {
  if (!epoll_ || !timer_) throw std::runtime_error("cannot serve: out of file descriptors");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kTimerTag}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event) == 0);
}

RelayEngine::~RelayEngine() = default;

void RelayEngine::add_listener(Fd fd, bool metrics) {
  CHECK(listeners_.size() + 1 < kFirstConnection);
  listeners_.push_back({.fd = std::move(fd), .metrics = metrics});
  epoll_event event{.events = EPOLLIN, .data = {.u64 = listeners_.size()}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listeners_.back().fd.get(), &event) == 0);
}

void RelayEngine::turn(Instant now) {
  std::array<epoll_event, kEventsPerTurn> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerTurn, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const std::uint64_t tag = event.data.u64;
    if (tag == kTimerTag) {
      std::uint64_t expirations = 0;
      (void)!::read(timer_.get(), &expirations, sizeof expirations);
      timer_at_.reset();
    } else if (tag < kFirstConnection) {
      if (tag <= listeners_.size()) accept_ready(listeners_[tag - 1], now);
    } else if (RelayConnection* connection = find(tag)) {
      if ((event.events & EPOLLOUT) != 0) on_writable(*connection, now);
      const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
      if (!connection->gone && (event.events & EPOLLIN) != 0)
        on_readable(*connection, now);
      else if (!connection->gone && broken)
        close(*connection, now);
    }
  }
  expire(now);
  settle(now);
  graveyard_.clear();
  arm_timer();
}

void RelayEngine::expire(Instant now) {
  if (is_due(core_.next_timeout(), now)) core_.on_timeout(now);
  if (is_due(accept_again_at_, now)) {
    accept_again_at_.reset();
    watch_listeners(true);
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    RelayConnection* connection = find(deadlines_.begin()->second);
    CHECK(connection != nullptr);
    if (connection->stage == ConnectionStage::Head && !connection->linger_after_flush)
      ++shell_.header_timeouts;
    close(*connection, now);
  }
}

void RelayEngine::accept_ready(Listener& listener, Instant now) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    SocketAddress address;
    address.size = sizeof address.storage;
    Fd fd(::accept4(listener.fd.get(), address.data(), &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
      ++shell_.accept_pauses;  // waiting, instead of turning in circles while the backlog stays readable
      watch_listeners(false);
      accept_again_at_ = now + kAcceptPause;
      return;
    }
    ++shell_.tcp_accepted;
    if (connections_.size() >= options_.limits.connections) {
      ++shell_.refused_total_cap;
      continue;
    }
    const Endpoint peer = SocketAddress::to_endpoint(address.storage);
    const std::size_t cap = options_.limits.connections_per_address;
    std::size_t& open = per_address_[address_key(peer.address)];
    if (cap != 0 && !listener.metrics && open >= cap) {
      ++shell_.refused_address_cap;
      continue;
    }
    ++open;
    const Id id = next_id_++;
    auto connection =
        std::make_unique<RelayConnection>(std::move(fd), id, peer, listener.metrics ? nullptr : tls_.get());
    connection->metrics = listener.metrics;
    RelayConnection& added = *connections_.emplace(id, std::move(connection)).first->second;
    shell_.current_tcp = connections_.size();
    set_deadline(added, now + options_.limits.header_deadline);
    epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
    added.watched = EPOLLIN;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, added.fd.get(), &event) != 0) close(added, now);
  }
}

void RelayEngine::on_readable(RelayConnection& connection, Instant now) {
  const auto size = connection.receive(read_buffer_);
  if (!size) return;
  if (*size <= 0) return close(connection, now);
  const ByteSpan wire = ByteSpan(read_buffer_).first(static_cast<std::size_t>(*size));
  if (!connection.tls) return on_stream(connection, wire, now);

  connection.tls->feed(wire);
  while (!connection.gone) {
    const auto result = connection.tls->read(plain_buffer_, connection.wire());
    if (connection.has_output()) mark_dirty(connection);
    if (connection.output_bytes() > kMaxOutputBytes) return close(connection, now);
    switch (result.status) {
      case TlsSession::Status::Data:
        on_stream(connection, ByteSpan(plain_buffer_).first(result.size), now);
        continue;
      case TlsSession::Status::Wanting:
        return;
      case TlsSession::Status::Closed:
        return close(connection, now);
      case TlsSession::Status::Failed:
        ++shell_.tls_failures;
        (void)connection.flush(pool_);  // the alert tells the peer why
        return close(connection, now);
    }
  }
}

void RelayEngine::on_writable(RelayConnection& connection, Instant now) {
  flush(connection, now);
  if (connection.gone || connection.blocked || connection.stage != ConnectionStage::Head) return;
  serve_heads(connection, now);  // pipelined requests waited for room
}

void RelayEngine::flush(RelayConnection& connection, Instant now) {
  switch (connection.flush(pool_)) {
    case RelayConnection::Flush::Done:
      if (connection.batch_in_flight) {
        connection.batch_in_flight = false;
        core_.on_written(connection.id, now);
      }
      if (connection.linger_after_flush && connection.stage != ConnectionStage::Lingering) {
        connection.stage = ConnectionStage::Lingering;
        connection.shut_down_sending();
        set_deadline(connection, now + kLinger);
      }
      break;
    case RelayConnection::Flush::Partial:
      if (connection.batch_in_flight) core_.on_write_progress(connection.id, now);
      break;
    case RelayConnection::Flush::Blocked:
      break;
    case RelayConnection::Flush::Failed:
      ++shell_.write_errors;
      return close(connection, now);
  }
  watch(connection);
}

void RelayEngine::mark_dirty(RelayConnection& connection) {
  if (connection.dirty || connection.gone) return;
  connection.dirty = true;
  dirty_.push_back(&connection);
}

// Moves what the core has ready into the connections' buffers. A batch counts as written once the next one is
// due while the socket is not known to be full; the turn's last batch waits for the real write, so the core's
// write deadline sees the socket as it is.
void RelayEngine::collect(Instant now) {
  for (const Id id : corked_) {
    RelayConnection* connection = find(id);
    if (connection == nullptr || !connection->batch_in_flight || connection->blocked) continue;
    if (connection->output_bytes() >= kCorkBytes) {
      flush(*connection, now);
    } else {
      connection->batch_in_flight = false;
      core_.on_written(id, now);
    }
  }
  corked_.clear();
  while (const auto id = core_.poll_ready()) {
    RelayConnection* connection = find(*id);
    if (connection == nullptr || !core_.take_output(*id, batch_, now)) continue;
    connection->batch_in_flight = true;
    connection->queue(batch_, pool_);
    corked_.push_back(*id);
    mark_dirty(*connection);
  }
  handle_core_events(now);
}

void RelayEngine::handle_core_events(Instant now) {
  while (const auto event = core_.poll_event()) {
    if (const auto* closing = std::get_if<derp::CloseConnection>(&*event)) {
      RelayConnection* connection = find(closing->id);
      if (connection == nullptr) continue;
      const bool late = closing->reason == derp::CloseReason::WriteTimeout;
      const bool drained = closing->reason == derp::CloseReason::ShuttingDown;
      if (drained) {
        end_gently(*connection, WsClose::Normal, now);
      } else {
        if (!late) connection->queue_goodbye(WsClose::Internal);
        if (!late && connection->has_output()) (void)connection->flush(pool_);
        close(*connection, now);
      }
    } else if (const auto* pause = std::get_if<derp::PauseReading>(&*event)) {
      RelayConnection* connection = find(pause->id);
      if (connection == nullptr) continue;
      connection->paused = pause->paused;
      watch(*connection);
    }
  }
}

// Writes until every connection is either done or its socket full.
void RelayEngine::settle(Instant now) {
  do {
    collect(now);
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
      RelayConnection& connection = *dirty_[i];
      connection.dirty = false;
      if (!connection.gone) flush(connection, now);
    }
    dirty_.clear();
    corked_.clear();
    collect(now);
    if (draining_ && dirty_.empty()) end_idle(now);
  } while (!dirty_.empty());
}

// While draining: a connection with nothing left to write has heard everything.
void RelayEngine::end_idle(Instant now) {
  std::vector<RelayConnection*> idle;
  for (const auto& [id, connection] : connections_)
    if (!connection->has_output() && !connection->linger_after_flush) idle.push_back(connection.get());
  for (RelayConnection* connection : idle) end_gently(*connection, WsClose::Normal, now);
}

RelayConnection* RelayEngine::find(Id id) {
  const auto at = connections_.find(id);
  return at == connections_.end() ? nullptr : at->second.get();
}

// No more input; the connection ends when what is queued has left.
void RelayEngine::end_gently(RelayConnection& connection, WsClose code, Instant now) {
  if (connection.gone || connection.linger_after_flush) return;
  connection.queue_goodbye(code);
  connection.linger_after_flush = true;
  connection.batch_in_flight = false;
  if (connection.in_core) {
    connection.in_core = false;
    core_.on_disconnect(connection.id, now);
  }
  set_deadline(connection, now + kLinger);
  mark_dirty(connection);
}

void RelayEngine::close(RelayConnection& connection, Instant now) {
  if (connection.gone) return;
  connection.gone = true;
  if (connection.in_core) {
    connection.in_core = false;
    core_.on_disconnect(connection.id, now);
  }
  set_deadline(connection, std::nullopt);
  const auto address = per_address_.find(address_key(connection.peer.address));
  CHECK(address != per_address_.end());
  if (--address->second == 0) per_address_.erase(address);
  connection.fd.reset();  // leaves the epoll set too
  const auto at = connections_.find(connection.id);
  graveyard_.push_back(std::move(at->second));  // callers up the stack still hold a reference
  connections_.erase(at);
  shell_.current_tcp = connections_.size();
}

void RelayEngine::set_deadline(RelayConnection& connection, std::optional<Instant> deadline) {
  if (connection.deadline) deadlines_.erase({*connection.deadline, connection.id});
  connection.deadline = deadline;
  if (deadline) deadlines_.emplace(*deadline, connection.id);
}

void RelayEngine::watch(RelayConnection& connection) {
  if (connection.gone) return;
  const bool waits_for_room = connection.stage == ConnectionStage::Head && connection.blocked;
  std::uint32_t wanted = 0;
  if (!connection.paused && !waits_for_room) wanted |= EPOLLIN;
  if (connection.blocked) wanted |= EPOLLOUT;
  if (wanted == connection.watched) return;
  connection.watched = wanted;
  epoll_event event{.events = wanted, .data = {.u64 = connection.id}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event) == 0);
}

void RelayEngine::watch_listeners(bool on) {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    epoll_event event{.events = on ? EPOLLIN : 0u, .data = {.u64 = i + 1}};
    CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listeners_[i].fd.get(), &event) == 0);
  }
}

void RelayEngine::arm_timer() {
  auto next = earlier(core_.next_timeout(), accept_again_at_);
  if (!deadlines_.empty()) next = earlier(next, deadlines_.begin()->first);
  if (!next || (timer_at_ && *timer_at_ <= *next)) return;  // an early timer is only re-armed when it fires
  timer_at_ = next;
  // Never zero, which would disarm it.
  const auto since = std::max<Duration>(next->time_since_epoch(), 1ns);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  itimerspec when{};
  when.it_value.tv_sec = seconds.count();
  when.it_value.tv_nsec = (since - seconds).count();
  CHECK(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

void RelayEngine::begin_drain(Duration reconnect_in, Duration try_for, Instant now) {
  listeners_.clear();
  accept_again_at_.reset();
  core_.announce_restart(reconnect_in, try_for, now);
  collect(now);
  draining_ = true;
  settle(now);
  graveyard_.clear();
  arm_timer();
}

ByteArray<16> RelayEngine::address_key(const IpAddress& address) const {
  ByteArray<16> key = address.mapped();
  // A household or a server gets a /64; counting its 2^64 addresses one by one would limit nobody.
  if (address.is_v6()) std::fill(key.begin() + 8, key.end(), std::byte{0});
  return key;
}

}  // namespace dh::io
