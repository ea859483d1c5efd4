#include "path/path_finder.hh"

#include <algorithm>

#include "base/check.hh"
#include "path/limits.hh"

namespace dh::path {

PathFinder::PathFinder(const PathConfig& config, Instant now, Rng& rng)
    : config_(config), rng_(rng), created_(now), gatherer_(rng), call_credit_at_(now) {
  if (config.loopback_peer) filter_.allow_loopback();
}

void PathFinder::on_socket_open(SocketId socket, bool is_v6, std::uint16_t port, Instant now) {
  list_may_differ_ = true;
  if (has_socket(socket)) return;
  sockets_.push_back({socket, is_v6, port});
  tell_interface_mtu(now);  // it may have been started before it heard of this machine's addresses
  const bool for_birthday = birthday_ && socket != fresh_socket_ && socket >= kFirstExtraSocket;
  if (!for_birthday) gatherer_.open_socket(socket, is_v6, now);
}

void PathFinder::on_socket_failed(SocketId socket, Instant now) {
  list_may_differ_ = true;
  std::erase_if(sockets_, [socket](const Socket& s) { return s.id == socket; });
  gatherer_.close_socket(socket);
  if (prober_) prober_->close_socket(socket);
  if (fresh_socket_ == socket) fresh_socket_ = 0;
  update_choice(now, "the socket failed");
}

void PathFinder::on_local_addresses(std::vector<LocalAddress> addresses) {
  list_may_differ_ = true;
  local_ = std::move(addresses);
  filter_.set_local(local_);
}

/// The best interface of each family: where a pair leaves by another one, the system refuses what is too big
/// for that, and says so at once.
void PathFinder::tell_interface_mtu(Instant now) {
  if (!prober_) return;
  std::array<std::size_t, 2> best{};
  for (const LocalAddress& local : local_) {
    if (local.address.is_loopback() && !config_.loopback_peer) continue;
    std::size_t& mtu = best[local.address.is_v6() ? 1 : 0];
    mtu = std::max(mtu, local.mtu == 0 ? kUsualMtu : local.mtu);
  }
  prober_->set_interface_mtu(best[0], best[1], now);
}

void PathFinder::on_port_mapping(bool v6, std::optional<Endpoint> external) {
  list_may_differ_ = true;
  mapped_[v6 ? 1 : 0] = external;
}

void PathFinder::on_network_changed(Instant now) {
  list_may_differ_ = true;
  gatherer_.refresh(now);
  if (!prober_) return;
  tell_interface_mtu(now);
  retries_ = 0;
  choice_.forget_stalls();
  // What was valid may have died without a word: ask it, and ask for everything else, too.
  if (const auto& route = current()) prober_->suspect(route->socket, route->remote, now);
  update_choice(now, "the network changed");
  call_due_ = true;
  if (config_.dialer && phase_ != Phase::Connected) retry_at_ = now + kRetryAfterLoss;
}

void PathFinder::start(const ProbeKeys& keys, Instant now) {
  CHECK(!prober_);
  prober_.emplace(keys, rng_);
  tell_interface_mtu(now);
  if (config_.dialer) begin_attempt(wire::PunchMode::Plain, now);
}

void PathFinder::on_traffic(Instant now) {
  last_traffic_ = now;
  if (!busy_ && prober_) {
    busy_ = true;
    prober_->set_in_use(current(), busy_, now);
  }
}

void PathFinder::on_stalled(Instant now) {
  if (!prober_ || !current()) return;
  const Route route = *current();
  choice_.on_stalled(now);
  prober_->suspect(route.socket, route.remote, now);
  update_choice(now, "it stopped delivering");
}

void PathFinder::on_poor(Instant now) {
  choice_.on_stalled(now, kPoorRest);
  update_choice(now, "the relay delivers more");
}

void PathFinder::on_relay_poor(Instant now) {
  choice_.forget_stalls();
  update_choice(now, "");
}

void PathFinder::on_black_hole(Instant now) {
  if (!prober_ || !current()) return;
  prober_->on_black_hole(current()->socket, current()->remote, now);
  update_choice(now, "");
}

void PathFinder::on_too_big(SocketId socket, const Endpoint& to, std::size_t size, Instant now) {
  if (!prober_) return;
  prober_->on_too_big(socket, to, size, now);
  update_choice(now, "it no longer takes full datagrams");
}

bool PathFinder::on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, Instant now) {
  list_may_differ_ = true;
  if (gatherer_.on_datagram(socket, from, datagram, now)) {
    learn_reflexive();
    return true;
  }
  if (!prober_ || !has_socket(socket)) return false;
  switch (prober_->on_datagram(socket, from, datagram, filter_.allows_reply(from), tier_of(from), now)) {
    case Prober::Result::NotAProbe:
      return false;
    case Prober::Result::Ignored:
    case Prober::Result::Ping:
      return true;
    case Prober::Result::Pong:
      update_choice(now, "");
      return true;
  }
  return false;
}

void PathFinder::on_peer_datagram(SocketId socket, const Endpoint& from, Instant now) {
  if (!prober_) return;
  on_traffic(now);
  quiet_at_ = now + kQuiet;
  if (prober_->find(socket, from) == nullptr && filter_.allows_reply(from)) {
    // The peer's NAT has moved it: see whether we reach it there.
    prober_->add(socket, from, PairOrigin::Reflexive, tier_of(from), now, false);
  }
  prober_->on_alive(socket, from, now);
  const auto& route = current();
  if (!route) return;
  if (route->socket == socket && route->remote == from) {
    route_heard_ = now;
    return;
  }
  // Its NAT has moved it, or its choice has: what we send the old way may go nowhere.
  const Pair* other = prober_->find(socket, from);
  if (other == nullptr || !other->carries() || now - route_heard_ < kFollowAfter) return;
  prober_->suspect(route->socket, route->remote, now);
  update_choice(now, "the peer moved");
}

void PathFinder::on_send_failed(SocketId socket, const Endpoint& to, Instant now) {
  if (!prober_) return;
  prober_->suspect(socket, to, now);
  update_choice(now, "this machine has no way there any more");
}

void PathFinder::learn_reflexive() {
  if (!gatherer_.take_changed()) return;
  std::vector<IpAddress> addresses;
  for (const Socket& socket : sockets_)
    for (const Endpoint& mapped : gatherer_.mapped(socket.id)) addresses.push_back(mapped.address);
  const bool known = !addresses.empty();
  filter_.set_reflexive(std::move(addresses));
  if (known && phase_ != Phase::Gathering && candidates() != sent_candidates_) call_due_ = true;
}

bool PathFinder::has_socket(SocketId id) const {
  return std::any_of(sockets_.begin(), sockets_.end(), [id](const Socket& s) { return s.id == id; });
}

bool PathFinder::has_valid_pair() const {
  return prober_ && std::any_of(prober_->pairs().begin(), prober_->pairs().end(),
                                [](const Pair& pair) { return pair.state == PairState::Valid; });
}

bool PathFinder::has_carrying_pair() const {
  return prober_ && std::any_of(prober_->pairs().begin(), prober_->pairs().end(),
                                [](const Pair& pair) { return pair.carries(); });
}

SocketId PathFinder::plain_socket(const Endpoint& remote) const {
  return remote.address.is_v6() ? kSocketV6 : kSocketV4;
}

Tier PathFinder::tier_of(const Endpoint& remote) const {
  return filter_.on_our_link(remote.address) ? Tier::Lan : Tier::Direct;
}

/// After anything that may have changed which pairs work.
void PathFinder::update_choice(Instant now, const char* why) {
  if (!prober_) return;
  const std::optional<Route> route = choice_.choose(prober_->pairs(), now);
  const bool same =
      route && announced_ && route->socket == announced_->socket && route->remote == announced_->remote;
  if (route && !same) {
    announced_ = route;
    route_heard_ = now;
    events_.push_back(RouteUp{*route});
    phase_ = Phase::Connected;
    retries_ = 0;
    mode_until_.reset();
    retry_at_.reset();
    if (birthday_) birthday_.reset();
    drop_extra_sockets(true);
  } else if (route && route->datagram_bytes != announced_->datagram_bytes) {
    announced_ = route;
    events_.push_back(RouteSize{route->datagram_bytes});
  } else if (!route && announced_) {
    announced_.reset();
    events_.push_back(RouteDown{why});
    phase_ = Phase::Resting;
    if (config_.dialer) retry_at_ = now + kRetryAfterLoss;
    call_due_ = true;  // a dialer that still has a path learns that ours is gone
    gatherer_.refresh(now);
  }
  prober_->set_in_use(route, busy_, now);
}

void PathFinder::on_timeout(Instant now) {
  list_may_differ_ = true;
  if (!prober_) return;
  prober_->on_timeout(now);
  if (is_due(call_turn(), now)) take_call(now);
  if (is_due(quiet_at_, now)) {
    quiet_at_.reset();
    if (const auto& route = current()) {
      prober_->ping_now(route->socket, route->remote, now);
      gatherer_.refresh(now);  // if we were moved, the peer hears of it without waiting for the verdict
      events_.push_back(RouteQuiet{});
    }
  }
  if (busy_ && last_traffic_ && now - *last_traffic_ >= kTrafficMemory) {
    busy_ = false;
    prober_->set_in_use(current(), busy_, now);
  }
  update_choice(now, "the other side does not answer there any more");
  if (birthday_) {
    while (auto probe = birthday_->poll(now)) prober_->ping_once(probe->socket, probe->to, probe->ttl);
    if (birthday_->over(now)) {
      birthday_.reset();
      if (phase_ == Phase::Attempt) rest(now);
    }
  }
  if (config_.dialer && phase_ == Phase::Attempt && is_due(mode_until_, now)) next_attempt(now);
  if (is_due(mode_until_, now)) {
    mode_until_.reset();
    if (phase_ == Phase::Attempt) rest(now);
  }
  if (config_.dialer && phase_ != Phase::Connected && is_due(retry_at_, now)) {
    retry_at_.reset();
    if (const auto rested = choice_.next_timeout()) {
      retry_at_ = *rested + kRetryAfterLoss;  // a pair works; it only rests
    } else {
      begin_attempt(wire::PunchMode::Plain, now);
    }
  }
}

std::optional<Transmit> PathFinder::poll_transmit(ByteSpan out, Instant now) {
  if (auto transmit = gatherer_.poll_transmit(out, now)) return transmit;
  while (prober_) {
    auto transmit = prober_->poll_transmit(out, now);
    if (!transmit) break;
    if (has_socket(transmit->socket)) return transmit;
  }
  return std::nullopt;
}

std::optional<PathEvent> PathFinder::poll_event() {
  if (events_.empty()) return std::nullopt;
  PathEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> PathFinder::next_timeout() const {
  std::optional<Instant> next = gatherer_.next_timeout();
  if (!prober_) return next;
  next = earlier(next, prober_->next_timeout());
  next = earlier(next, mode_until_);
  if (config_.dialer && phase_ != Phase::Connected) next = earlier(next, retry_at_);
  if (birthday_) next = earlier(next, birthday_->next_timeout());
  next = earlier(next, quiet_at_);
  next = earlier(next, choice_.next_timeout());
  next = earlier(next, call_turn());
  if (busy_ && last_traffic_) next = earlier(next, *last_traffic_ + kTrafficMemory);
  if (call_due_ && phase_ == Phase::Attempt) {
    // Beyond these the list is ready, or an answer or the gatherer's own timer makes it so.
    if (mode_ != wire::PunchMode::FreshPort) {
      next = earlier(next, created_ + kGatherPatience);
    } else if (!gatherer_.mapped(fresh_socket_).empty()) {
      next = earlier(next, fresh_opened_ + kFreshPatience);
    }
  }
  return next;
}

Obstacle PathFinder::obstacle() const {
  Obstacle out;
  out.no_socket = sockets_.empty() || local_.empty();
  out.stun_silent = gatherer_.servers() > 0 && !gatherer_.any_answer();
  out.ours = own_mapping();
  out.stalls = !current() && has_valid_pair();
  if (peer_) {
    out.peers = peer_->mapping;
    out.peer_has_none = std::none_of(peer_->candidates.begin(), peer_->candidates.end(), [](const auto& c) {
      return c.kind != wire::CandidateKind::Host || !c.endpoint.address.is_private();
    });
  }
  return out;
}

}  // namespace dh::path
