#include <algorithm>

#include "base/check.hh"
#include "session/tunnel_link_impl.hh"

namespace dh::session {

std::optional<Instant> TunnelLink::Impl::last_heard() const {
  const auto relay = relays.last_heard();
  if (!relay || !direct_heard) return relay ? relay : direct_heard;
  return std::max(*relay, *direct_heard);
}

// Since when something is due from the peer and nothing at all has come.
std::optional<Instant> TunnelLink::Impl::due_since() const {
  const auto waiting = control.waiting_since();
  const auto heard_at = last_heard();
  return waiting && heard_at ? std::max(*waiting, *heard_at) : waiting;
}

bool TunnelLink::Impl::quic_has_way() const {
  if (direct) return true;
  return !needs_direct() && relays.current() && writable[*relays.current()];
}

void TunnelLink::Impl::ping(Instant now) {
  if (state == State::Open && control.all_acknowledged()) control.send(wire::serialize(wire::Ping{}), now);
}

void TunnelLink::Impl::timeout(Instant now) {
  if (state == State::Ended) return;
  control.on_timeout(now);
  if (paths) {
    paths->on_timeout(now);
    read_paths(now);
  }
  quic.on_timeout(now);
  if (state == State::Closing) {
    if (is_due(goodbye_until, now) || (saying_goodbye && control.all_acknowledged()))
      end(TunnelEnd::ClosedByUs);
    return;
  }
  watch_connection(now);
  watch_peer(now);
}

void TunnelLink::Impl::watch_peer(Instant now) {
  if (is_due(direct_deadline, now)) return end(TunnelEnd::NoDirectPath);
  if (quic.is_closed()) return connection_closed(now);
  const auto due = due_since();
  if (due && now - *due >= kSilenceSuspect) {
    if (!silent_since) {
      silent_since = due;
      events.push_back(PeerSilent{*due});
    }
    if (relays.current()) relays.suspect(*relays.current());
    want_others = true;
    relay_changed(now);
  }
  const Instant last = last_heard().value_or(started);
  if (now - last >= kIdlePing) ping(now);
  if (now - last >= kPeerSilenceLimit) end(TunnelEnd::NetworkLost);
}

void TunnelLink::Impl::connection_closed(Instant now) {
  if (quic.close_cause() != quic::CloseCause::ByPeer) return close("the connection failed", now);
  // It took the short way. The goodbye proper comes by the relay, with the reason, and wants to be
  // acknowledged.
  if (!goodbye_until) goodbye_until = now + kGoodbyeLimit;
  if (is_due(goodbye_until, now)) end(TunnelEnd::ClosedByPeer);
}

std::optional<Instant> TunnelLink::Impl::next_timeout() const {
  if (state == State::Ended) return std::nullopt;
  std::optional<Instant> next = goodbye_until;
  if (paths) next = earlier(next, paths->next_timeout());
  // Behind a relay that takes nothing just now, what wants to be sent is woken by on_relay_writable instead.
  const bool blocked = !direct && relays.current() && !writable[*relays.current()];
  if (!blocked) next = earlier(next, control.next_timeout());
  if (quic_has_way()) next = earlier(next, quic.next_timeout());
  if (state == State::Closing) return next;
  next = earlier(next, direct_deadline);
  if (const auto due = due_since(); due && !silent_since) next = earlier(next, *due + kSilenceSuspect);
  const Instant last = last_heard().value_or(started);
  next = earlier(next, last + kPeerSilenceLimit);
  if (control.all_acknowledged()) next = earlier(next, last + kIdlePing);
  return next;
}

std::optional<Session::Transmit> TunnelLink::Impl::transmit(ByteSpan out, Instant now) {
  if (state == State::Ended) return std::nullopt;
  if (only_quic) return transmit_quic(out, now);
  if (paths && state == State::Open) {
    if (const auto rtt = control.smoothed_rtt()) paths->on_control_rtt(*rtt);
    while (auto call = paths->poll_call(now)) control.send(wire::serialize(*call), now);
    if (auto sent = paths->poll_transmit(out, now)) return *sent;
  }
  while (!copies.empty()) {
    auto [relay, bytes] = std::move(copies.front());
    copies.pop_front();
    if (!relays.is_up(relay) || !writable[relay]) continue;
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return Session::RelayTransmit{relay, peer(), bytes.size()};
  }
  if (auto sent = transmit_control(out, now)) return sent;
  only_quic = true;
  return transmit_quic(out, now);
}

// The relay carries what is small; a direct path does when no relay can.
std::optional<Session::Transmit> TunnelLink::Impl::transmit_control(ByteSpan out, Instant now) {
  const auto current = relays.current();
  const bool by_relay = current && writable[*current];
  if (current && !by_relay && !direct) return std::nullopt;
  while (auto bytes = control.poll_packet(now)) {
    CHECK(bytes->size() <= out.size());
    std::copy(bytes->begin(), bytes->end(), out.begin());
    if (!by_relay && direct) return path::Transmit{direct->socket, direct->remote, bytes->size(), 0};
    if (!by_relay) continue;  // no way at all: as good as lost, and the timers go on
    // While the peer may be deaf on this relay, small things go through every relay.
    for (std::size_t i = 0; silent_since && i < relays.size(); ++i) {
      if (i != *current) copies.emplace_back(i, *bytes);
    }
    return Session::RelayTransmit{*current, peer(), bytes->size()};
  }
  return std::nullopt;
}

std::optional<Session::Transmit> TunnelLink::Impl::transmit_quic(ByteSpan out, Instant now) {
  if (!quic_has_way()) return std::nullopt;
  const auto size = quic.poll_transmit(out, now);
  if (!size) return std::nullopt;
  if (direct) {
    counters.direct_bytes += *size;
    paths->on_traffic(now);
    return path::Transmit{direct->socket, direct->remote, *size, 0};
  }
  counters.relay_bytes += *size;
  return Session::RelayTransmit{*relays.current(), peer(), *size};
}

std::optional<std::size_t> TunnelLink::Impl::transmit_more(ByteSpan out, Instant now) {
  if (state == State::Ended || !only_quic || !direct) return std::nullopt;
  const auto size = quic.poll_transmit(out, now);
  if (size) counters.direct_bytes += *size;
  return size;
}

void TunnelLink::Impl::close(std::string reason, Instant now) {
  if (state != State::Open) return;
  const auto cause = quic.close_cause();
  const TunnelEnd how = !cause                                ? TunnelEnd::ClosedByUs
                        : *cause == quic::CloseCause::ByPeer  ? TunnelEnd::ClosedByPeer
                        : *cause == quic::CloseCause::Silence ? TunnelEnd::NetworkLost
                                                              : TunnelEnd::Broken;
  quic.close(0, now);
  reason.resize(std::min(reason.size(), wire::Close::kMaxReason));
  control.send(wire::serialize(wire::Close{0, std::move(reason)}), now);
  events.push_back(TunnelEnded{how, {}});
  state = State::Closing;
  saying_goodbye = true;
  goodbye_until = now + kGoodbyeLimit;
}

void TunnelLink::Impl::end(TunnelEnd how, std::string reason) {
  if (state == State::Ended) return;
  if (state == State::Open) events.push_back(TunnelEnded{how, std::move(reason)});
  state = State::Ended;
}

}  // namespace dh::session
