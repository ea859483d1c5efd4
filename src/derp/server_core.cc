#include "derp/server_core.hh"

#include <algorithm>
#include <utility>

#include "base/check.hh"
#include "derp/server_impl.hh"

namespace dh::derp {

std::string_view to_string(CloseReason reason) {
  switch (reason) {
    case CloseReason::LoginTimeout:
      return "login timed out";
    case CloseReason::BadLogin:
      return "bad login";
    case CloseReason::ProtocolError:
      return "protocol error";
    case CloseReason::FrameTooLong:
      return "frame too long";
    case CloseReason::WriteTimeout:
      return "client does not read";
    case CloseReason::NotAuthorised:
      return "not authorised";
    case CloseReason::ShuttingDown:
      return "shutting down";
    case CloseReason::ClosedByMesh:
      return "closed by a mesh peer";
  }
  return "unknown";
}

ServerCore::ServerCore(const ServerConfig& config, const KeyPair& key, Instant /*now*/, Rng& rng)
    : impl_(std::make_unique<Impl>(config, key, rng)) {}

ServerCore::~ServerCore() = default;

void ServerCore::on_connect(ConnectionId id, const Endpoint& peer, Instant now) {
  Impl& self = *impl_;
  auto connection =
      std::make_unique<Connection>(id, peer, self.pool, self.counters, self.config.queue_packets, now);
  const auto [at, fresh] = self.connections.emplace(id, std::move(connection));
  CHECK(fresh);
  ++self.counters.accepts;
  self.counters.current_connections = self.connections.size();
  self.timers.add(now + self.config.login_deadline, id, TimerKind::Login);
  self.send(*at->second, wire::derp::ServerKeyFrame{self.keys.pub});
}

void ServerCore::on_bytes(ConnectionId id, ByteView stream_bytes, Instant now) {
  Connection* connection = impl_->find(id);
  if (!connection || connection->state == ConnectionState::Closing) return;
  connection->in.feed(stream_bytes);
  impl_->process(*connection, now);
  connection->in.keep_rest();
  impl_->close_doomed();
}

void ServerCore::on_write_progress(ConnectionId id, Instant now) {
  Connection* connection = impl_->find(id);
  if (connection && connection->write_deadline)
    connection->write_deadline = now + impl_->write_deadline(*connection);
}

void ServerCore::on_written(ConnectionId id, Instant /*now*/) {
  Connection* connection = impl_->find(id);
  if (!connection) return;
  connection->write_deadline.reset();
  connection->out.written();
  impl_->make_ready(*connection);
}

void ServerCore::on_disconnect(ConnectionId id, Instant /*now*/) {
  Impl& self = *impl_;
  const auto found = self.connections.find(id);
  if (found == self.connections.end()) return;
  self.unregister(*found->second);
  self.connections.erase(found);
  self.counters.current_connections = self.connections.size();
  // Each live connection keeps at most four entries; what exceeds that belongs to the dead.
  if (self.timers.size() > 8 * self.connections.size() + 1024)
    self.timers.sweep([&self](ConnectionId other) { return self.is_alive(other); });
  self.close_doomed();
}

void ServerCore::on_timeout(Instant now) {
  while (const auto entry = impl_->timers.pop_due(now)) impl_->on_timer(*entry, now);
  impl_->close_doomed();
}

void ServerCore::recycle(Bytes&& buffer) {
  impl_->pool.give(std::move(buffer));
}

void ServerCore::announce_restart(Duration reconnect_in, Duration try_for, Instant /*now*/) {
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  const wire::derp::RestartingFrame frame{ceil<milliseconds>(reconnect_in), ceil<milliseconds>(try_for)};
  for (auto& [id, connection] : impl_->connections) {
    if (connection->state == ConnectionState::Active) impl_->send(*connection, frame);
  }
  impl_->close_doomed();
}

std::optional<ServerEvent> ServerCore::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  const ServerEvent event = impl_->events.front();
  impl_->events.pop_front();
  return event;
}

std::optional<ConnectionId> ServerCore::poll_ready() {
  while (!impl_->ready.empty()) {
    const ConnectionId id = impl_->ready.front();
    impl_->ready.pop_front();
    const Connection* connection = impl_->find(id);
    if (connection && connection->ready_listed && connection->out.is_ready()) return id;
  }
  return std::nullopt;
}

bool ServerCore::take_output(ConnectionId id, Bytes& batch, Instant now) {
  Connection* connection = impl_->find(id);
  if (!connection) return false;
  connection->ready_listed = false;
  if (!connection->out.is_ready()) return false;
  connection->out.take(batch);
  connection->pong_pending = false;
  impl_->arm_write_timer(*connection, now);
  return true;
}

std::optional<Instant> ServerCore::next_timeout() const {
  return impl_->timers.next();
}

const PublicKey& ServerCore::public_key() const {
  return impl_->keys.pub;
}

const ServerCounters& ServerCore::counters() const {
  return impl_->counters;
}

Connection* ServerCore::Impl::find(ConnectionId id) {
  const auto found = connections.find(id);
  return found == connections.end() ? nullptr : found->second.get();
}

void ServerCore::Impl::close(Connection& connection, CloseReason reason) {
  if (connection.state == ConnectionState::Closing) return;
  unregister(connection);
  connection.state = ConnectionState::Closing;
  if (reason == CloseReason::WriteTimeout) ++counters.write_timeouts;
  events.emplace_back(CloseConnection{connection.id, reason});
}

void ServerCore::Impl::unregister(Connection& connection) {
  counters.dropped_gone += connection.out.clear();
  connection.in = {};
  connection.write_deadline.reset();
  if (connection.state != ConnectionState::Active) return;
  if (connection.is_watcher) std::erase(watchers, connection.id);
  const auto subscribers = registry.remove(connection);
  counters.duplicate_keys = registry.duplicate_keys();
  connection.state = ConnectionState::Closing;
  if (registry.find(connection.key)) return;  // another connection holds the key
  for (const ConnectionId id : subscribers) {
    Connection* other = find(id);
    if (!other || other->state != ConnectionState::Active) continue;
    ++counters.peer_gone_disconnected;
    send(*other, wire::derp::PeerGoneFrame{connection.key, 0});
  }
  announce_gone(connection.key);
}

void ServerCore::Impl::close_doomed() {
  // Closing tells other watchers, which may doom them too.
  while (!doomed.empty()) {
    const ConnectionId id = doomed.back();
    doomed.pop_back();
    if (Connection* connection = find(id)) close(*connection, CloseReason::WriteTimeout);
  }
}

void ServerCore::Impl::make_ready(Connection& connection) {
  if (connection.ready_listed || !connection.out.is_ready()) return;
  connection.ready_listed = true;
  ready.push_back(connection.id);
}

Duration ServerCore::Impl::write_deadline(const Connection& connection) const {
  return connection.is_mesh ? kMeshWriteDeadline : config.write_deadline;
}

void ServerCore::Impl::arm_write_timer(Connection& connection, Instant now) {
  const Duration patience = write_deadline(connection);
  if (patience <= Duration::zero()) return;
  connection.write_deadline = now + patience;
  if (connection.write_timer_armed) return;
  connection.write_timer_armed = true;
  timers.add(*connection.write_deadline, connection.id, TimerKind::Write);
}

void ServerCore::Impl::on_timer(const ServerTimers::Entry& entry, Instant now) {
  Connection* connection = find(entry.id);
  if (!connection || connection->state == ConnectionState::Closing) return;
  switch (entry.kind) {
    case TimerKind::Login:
      if (connection->state == ConnectionState::AwaitClientInfo)
        close(*connection, CloseReason::LoginTimeout);
      return;
    case TimerKind::KeepAlive:
      connection->in.shrink();
      timers.add(now + connection->keepalive_period, entry.id, TimerKind::KeepAlive);
      send(*connection, wire::derp::KeepAliveFrame{});
      return;
    case TimerKind::Write:
      connection->write_timer_armed = false;
      if (!connection->write_deadline) return;
      if (*connection->write_deadline <= now) return close(*connection, CloseReason::WriteTimeout);
      connection->write_timer_armed = true;
      timers.add(*connection->write_deadline, entry.id, TimerKind::Write);
      return;
    case TimerKind::Resume:
      connection->resume_timer_armed = false;
      process(*connection, now);
      connection->in.keep_rest();
      return;
  }
}

}  // namespace dh::derp
