#include "path/stun_gatherer.hh"

#include <algorithm>

#include "path/limits.hh"

namespace dh::path {

std::string_view to_string(Tier tier) {
  switch (tier) {
    case Tier::Lan:
      return "lan";
    case Tier::Direct:
      return "direct";
  }
  return "unknown";
}

void StunGatherer::add_server(const Endpoint& server, Instant now) {
  if (servers_.size() >= kMaxStunServers ||
      std::find(servers_.begin(), servers_.end(), server) != servers_.end())
    return;
  servers_.push_back(server);
  for (const auto& [socket, v6] : sockets_)
    if (v6 == server.address.is_v6()) queries_.push_back(Query(socket, server, now));
}

void StunGatherer::open_socket(SocketId socket, bool is_v6, Instant now) {
  if (!sockets_.emplace(socket, is_v6).second) return;
  for (const Endpoint& server : servers_)
    if (server.address.is_v6() == is_v6) queries_.push_back(Query(socket, server, now));
}

void StunGatherer::close_socket(SocketId socket) {
  sockets_.erase(socket);
  std::erase_if(queries_, [socket](const Query& query) { return query.socket == socket; });
}

bool StunGatherer::on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, Instant now) {
  if (!wire::stun::has_header(datagram)) return false;
  const auto reply = wire::stun::parse_reply(datagram);
  if (!reply) return false;
  for (Query& query : queries_) {
    if (query.socket != socket || query.server != from || !query.id || *query.id != reply->id) continue;
    const Duration took = now - query.asked_at;
    if (query.tries == 1) rtt_ = rtt_ ? std::min(*rtt_, took) : took;
    query.id.reset();
    query.tries = query.silences = 0;
    const auto spread = static_cast<std::uint64_t>((kStunRefreshMax - kStunRefreshMin).count());
    query.due = now + kStunRefreshMin + Duration(static_cast<Duration::rep>(rng_.below(spread)));
    changed_ = changed_ || query.mapped != reply->mapped;
    query.mapped = reply->mapped;
    return true;
  }
  return false;
}

void StunGatherer::refresh(Instant now) {
  for (Query& query : queries_) {
    query.id.reset();
    query.tries = query.silences = 0;
    query.due = now;
  }
}

std::optional<Transmit> StunGatherer::poll_transmit(ByteSpan out, Instant now) {
  for (Query& query : queries_) {
    if (query.due > now) continue;
    if (query.tries >= kStunWait.size()) {  // silent: try again later
      if (query.mapped) changed_ = true;
      query.mapped.reset();
      query.id.reset();
      query.tries = 0;
      query.due =
          now + std::min<Duration>(kStunRefreshMin, kStunSilence * (1 << std::min(query.silences++, 8u)));
      continue;
    }
    if (!query.id) {
      query.id.emplace();
      rng_.fill(*query.id);
    }
    if (query.order == 0) {
      for (const Query& other : queries_)
        if (other.socket == query.socket) query.order = std::max(query.order, other.order);
      ++query.order;
    }
    query.asked_at = now;
    query.due = now + kStunWait[query.tries++];
    const auto request = wire::stun::make_request(*query.id);
    std::copy(request.begin(), request.end(), out.begin());
    return Transmit{query.socket, query.server, request.size(), 0};
  }
  return std::nullopt;
}

std::optional<Instant> StunGatherer::next_timeout() const {
  std::optional<Instant> next;
  for (const Query& query : queries_) next = earlier(next, query.due);
  return next;
}

std::vector<const StunGatherer::Query*> StunGatherer::answered(SocketId socket) const {
  std::vector<const Query*> out;
  for (const Query& query : queries_)
    if (query.socket == socket && query.mapped) out.push_back(&query);
  std::sort(out.begin(), out.end(), [](const Query* a, const Query* b) { return a->order < b->order; });
  return out;
}

std::vector<Endpoint> StunGatherer::mapped(SocketId socket) const {
  std::vector<Endpoint> out;
  for (const Query* query : answered(socket))
    if (std::find(out.begin(), out.end(), *query->mapped) == out.end()) out.push_back(*query->mapped);
  return out;
}

// The common small difference between the ports of destinations asked one after the other.
std::optional<int> StunGatherer::stride(SocketId socket) const {
  const auto known = answered(socket);
  std::optional<int> stride;
  for (std::size_t i = 1; i < known.size(); ++i) {
    if (known[i]->mapped->address != known[0]->mapped->address) return std::nullopt;
    const int step = int{known[i]->mapped->port} - int{known[i - 1]->mapped->port};
    const int destinations = static_cast<int>(known[i]->order - known[i - 1]->order);
    if (step == 0 || destinations == 0 || step % destinations != 0) return std::nullopt;
    const int each = step / destinations;
    if (each > kMaxStride || each < -kMaxStride || (stride && *stride != each)) return std::nullopt;
    stride = each;
  }
  return stride;
}

wire::MappingBehaviour StunGatherer::mapping(SocketId socket) const {
  const auto known = answered(socket);
  bool two_addresses = false, differ = false;
  for (const Query* query : known) {
    two_addresses = two_addresses || query->server.address != known[0]->server.address;
    differ = differ || *query->mapped != *known[0]->mapped;
  }
  if (differ) return stride(socket) ? wire::MappingBehaviour::Sequential : wire::MappingBehaviour::Random;
  return two_addresses ? wire::MappingBehaviour::EndpointIndependent : wire::MappingBehaviour::Unknown;
}

std::vector<Endpoint> StunGatherer::predicted(SocketId socket, std::size_t count) const {
  const auto step = stride(socket);
  if (!step) return {};
  const auto known = answered(socket);
  // Servers that did not answer have used up a port each, too.
  std::uint64_t last_order = known.back()->order;
  for (const Query& query : queries_)
    if (query.socket == socket) last_order = std::max(last_order, query.order);
  std::vector<Endpoint> out;
  const int start =
      int{known.back()->mapped->port} + static_cast<int>(last_order - known.back()->order) * *step;
  for (std::size_t i = 1; i <= count; ++i) {
    const int port = start + static_cast<int>(i) * *step;
    if (port < 1024 || port > 65535) break;
    out.push_back({known.back()->mapped->address, static_cast<std::uint16_t>(port)});
  }
  return out;
}

bool StunGatherer::settled(SocketId socket) const {
  return std::none_of(queries_.begin(), queries_.end(), [socket](const Query& query) {
    return query.socket == socket && (query.id || query.order == 0);
  });
}

bool StunGatherer::any_answer() const {
  return std::any_of(queries_.begin(), queries_.end(),
                     [](const Query& query) { return query.mapped.has_value(); });
}

}  // namespace dh::path
