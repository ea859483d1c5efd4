#include "sim/relay.hh"

#include "base/address.hh"

namespace dh::sim {

Relay::Relay(World& world, const LinkModel& link)
    : world_(world), link_(link), key_(KeyPair::generate(world.rng())) {
  start();
}

void Relay::start() {
  if (core_) return;
  ++incarnation_;
  core_.emplace(derp::ServerConfig{}, key_, world_.now(), world_.rng());
}

void Relay::kill() {
  core_.reset();
  ++incarnation_;
  armed_.reset();
  while (!connections_.empty()) drop(connections_.begin()->first, true);
}

Duration Relay::travel() {
  const auto jitter = static_cast<std::uint64_t>(link_.jitter.count());
  return link_.delay + Duration(jitter == 0 ? 0 : static_cast<std::int64_t>(world_.rng().below(jitter)));
}

std::uint64_t Relay::connect(Client client) {
  const std::uint64_t id = next_id_++;
  Connection connection;
  connection.client = std::move(client);
  connection.to_relay_free =
      world_.now() + 2 * link_.delay;  // nothing leaves before SYN and SYN+ACK have crossed
  connections_.emplace(id, std::move(connection));
  world_.after(2 * link_.delay, [this, id] {
    if (!connections_.contains(id)) return;
    if (!core_) return drop(id, true);
    core_->on_connect(id, Endpoint{IpAddress::v4(10, 0, 0, 1), static_cast<std::uint16_t>(id & 0xffff)},
                      world_.now());
    service();
  });
  return id;
}

void Relay::send(std::uint64_t id, Bytes bytes) {
  const auto it = connections_.find(id);
  if (it == connections_.end() || black_hole_) return;
  if (on_seen) on_seen(bytes);
  Connection& connection = it->second;
  const Instant start = std::max(world_.now(), connection.to_relay_free);
  connection.to_relay_free = start + from_seconds(static_cast<double>(bytes.size()) / link_.bytes_per_second);
  connection.last_to_relay = std::max(connection.last_to_relay, connection.to_relay_free + travel());
  world_.at(connection.last_to_relay, [this, id, bytes = std::move(bytes)] {
    if (!core_ || !connections_.contains(id) || black_hole_) return;
    core_->on_bytes(id, bytes, world_.now());
    service();
  });
}

void Relay::disconnect(std::uint64_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  it->second.client.on_bytes = [](ByteView) {};
  it->second.client.on_closed = nullptr;
  // A close comes after everything sent before it, as TCP's FIN does.
  const Instant at = std::max(it->second.last_to_relay, world_.now() + link_.delay);
  world_.at(at, [this, id] {
    if (!connections_.contains(id)) return;
    drop(id, false);
    if (!core_) return;
    core_->on_disconnect(id, world_.now());
    service();
  });
}

void Relay::drop(std::uint64_t id, bool tell_host) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  auto on_closed = std::move(it->second.client.on_closed);
  connections_.erase(it);
  if (tell_host && on_closed) world_.after(travel(), std::move(on_closed));
}

void Relay::service() {
  while (auto event = core_->poll_event()) {
    if (const auto* close = std::get_if<derp::CloseConnection>(&*event)) {
      drop(close->id, true);
      core_->on_disconnect(close->id, world_.now());
    }
  }
  Bytes batch;
  while (auto id = core_->poll_ready()) {
    if (!core_->take_output(*id, batch, world_.now())) continue;
    const auto it = connections_.find(*id);
    if (it == connections_.end() || black_hole_) continue;
    Connection& connection = it->second;
    const Instant start = std::max(world_.now(), connection.to_host_free);
    connection.to_host_free =
        start + from_seconds(static_cast<double>(batch.size()) / link_.bytes_per_second);
    connection.last_to_host = std::max(connection.last_to_host, connection.to_host_free + travel());
    world_.at(connection.to_host_free, [this, id = *id, incarnation = incarnation_] {
      if (!core_ || incarnation != incarnation_ || !connections_.contains(id)) return;
      core_->on_written(id, world_.now());
      service();
    });
    world_.at(connection.last_to_host, [this, id = *id, batch] {
      const auto found = connections_.find(id);
      if (found == connections_.end() || black_hole_) return;
      const auto on_bytes = found->second.client.on_bytes;  // the callback may close the connection
      on_bytes(batch);
    });
  }
  arm();
}

void Relay::arm() {
  const auto next = core_->next_timeout();
  if (!next || (armed_ && *armed_ <= *next && *armed_ >= world_.now())) return;
  armed_ = *next;
  world_.at(*next, [this, incarnation = incarnation_] {
    if (!core_ || incarnation != incarnation_) return;
    armed_.reset();
    core_->on_timeout(world_.now());
    service();
  });
}

}  // namespace dh::sim
