#include <algorithm>

#include "base/check.hh"
#include "session/session_impl.hh"

namespace dh::session {

// Since when something is due from the peer and has not come.
std::optional<Instant> Session::Impl::due_since() const {
  std::optional<Instant> due;
  if (sender) due = sender->silent_since();
  if (control) due = earlier(due, control->waiting_since());
  return due;
}

void Session::Impl::timeout(Instant now, UnixSeconds wall) {
  last_wall = wall;
  if (state == State::Ended) return;
  for (std::size_t i = 0; i < relays.size(); ++i) {
    if (!initiators[i]) continue;
    initiators[i]->on_timeout(now);
    read_initiator(i, now);
  }
  if (gate) {
    gate->on_timeout(now);
    read_gate(now);
  }
  if (control) control->on_timeout(now);
  if (paths) {
    if (direct && sender && is_due(sender->stalls_at(kDirectPath), now)) paths->on_stalled(now);
    watch_delivery(now);
    paths->on_timeout(now);
    read_paths(now);
  }
  if (sender) sender->on_timeout(now);
  watch_size(now);
  if (receiver) receiver->on_timeout(now);
  if (state == State::Meeting) return meeting_timeout(now);
  if (state == State::Closing) {
    if (is_due(goodbye_until, now)) finish_closing();
    return;
  }
  watch_peer(now);
}

void Session::Impl::meeting_timeout(Instant now) {
  if (dialer() && relays.size() > 1 && now - started >= kSecondRelayAfter && !relays.any_up())
    want_others = true;
  if (is_due(expires, now)) return end(SessionEnd::Expired);
  if (!is_due(give_up, now)) return;
  if (!ever_up) return end(SessionEnd::NoRelay);
  end(heard_absent || !relays.any_up() ? SessionEnd::NobodyThere : SessionEnd::ListenerSilent);
}

void Session::Impl::watch_peer(Instant now) {
  const auto last = last_heard();
  const auto due = due_since();
  if (is_due(direct_deadline, now)) return end(SessionEnd::NoDirectPath);
  if (due && now - *due >= kSilenceSuspect) {
    if (!silent_since) {
      silent_since = due;
      events.push_back(PeerSilent{*due});
    }
    if (relays.current()) relays.suspect(*relays.current());
    want_others = true;
    relay_changed(now);
  }
  if (last && now - *last >= kIdlePing && control && control->all_acknowledged())
    control->send(wire::serialize(wire::Ping{}), now);
  if (last && now - *last >= kPeerSilenceLimit) end(SessionEnd::NetworkLost);
}

std::optional<Instant> Session::Impl::next_timeout() const {
  if (state == State::Ended) return std::nullopt;
  if (finishing) return started;  // at once
  std::optional<Instant> next;
  for (const auto& initiator : initiators) {
    if (initiator) next = earlier(next, initiator->next_timeout());
  }
  if (gate) next = earlier(next, gate->next_timeout());
  if (paths) next = earlier(next, paths->next_timeout());
  if (direct && sender) next = earlier(next, sender->stalls_at(kDirectPath));
  if (compares_delivery() && sender->has_backlog()) next = earlier(next, delivery.next_sample());
  const bool blocked = is_blocked();  // then on_relay_writable wakes what wants to be sent
  if (control && !blocked) next = earlier(next, control->next_timeout());
  if (sender && !blocked) next = earlier(next, sender->next_timeout());
  if (receiver && !blocked) next = earlier(next, receiver->next_timeout());
  switch (state) {
    case State::Meeting:
      next = earlier(earlier(next, give_up), expires);
      if (dialer() && !want_others && relays.size() > 1 && !relays.any_up())
        next = earlier(next, started + kSecondRelayAfter);
      break;
    case State::Open:
      if (const auto due = due_since(); due && !silent_since) next = earlier(next, *due + kSilenceSuspect);
      next = earlier(next, direct_deadline);
      if (const auto last = last_heard()) {
        next = earlier(next, *last + kPeerSilenceLimit);
        if (control && control->all_acknowledged()) next = earlier(next, *last + kIdlePing);
      }
      break;
    case State::Closing:
      next = earlier(next, goodbye_until);
      break;
    case State::Ended:
      break;
  }
  return next;
}

std::optional<Session::Transmit> Session::Impl::emit(std::size_t relay, const PublicKey& to, ByteView bytes,
                                                     ByteSpan out) {
  CHECK(bytes.size() <= out.size());
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return RelayTransmit{relay, to, bytes.size()};
}

std::optional<Session::Transmit> Session::Impl::emit_direct(ByteView bytes, ByteSpan out) {
  CHECK(bytes.size() <= out.size());
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return path::Transmit{direct->socket, direct->remote, bytes.size(), 0};
}

std::optional<Session::Transmit> Session::Impl::transmit(ByteSpan out, Instant now, bulk::Seal* later) {
  if (state == State::Ended) return std::nullopt;
  // Of the packets of one turn nearly all are the stream's: not each has to ask everybody else first.
  if (bulk_only > 0 && bulk_only_at == now) {
    --bulk_only;
    if (auto sent = transmit_bulk(out, now, later)) return sent;
  }
  if (auto sent = transmit_others(out, now)) return sent;
  bulk_only_at = now;
  bulk_only = kBulkRun;
  if (auto sent = transmit_bulk(out, now, later)) return sent;
  if (finishing && !is_blocked()) finish_closing();
  return std::nullopt;
}

// Behind a relay that takes nothing just now.
bool Session::Impl::is_blocked() const {
  const auto current = relays.current();
  return !direct && current && !writable[*current];
}

std::optional<Session::Transmit> Session::Impl::transmit_others(ByteSpan out, Instant now) {
  if (paths) {
    if (control && state != State::Closing) {
      if (const auto rtt = control->smoothed_rtt()) paths->on_control_rtt(*rtt);
      while (auto call = paths->poll_call(now)) control->send(wire::serialize(*call), now);
    }
    if (auto sent = paths->poll_transmit(out, now)) return *sent;
  }
  while (!copies.empty()) {
    auto [relay, bytes] = std::move(copies.front());
    copies.pop_front();
    if (usable(relay)) return emit(relay, peer, bytes, out);
  }
  for (std::size_t i = 0; i < relays.size(); ++i) {
    if (!initiators[i] || !usable(i)) continue;
    if (auto bytes = initiators[i]->poll_packet()) return emit(i, config.token.listener_derp, *bytes, out);
  }
  while (gate) {
    auto packet = gate->poll_packet();
    if (!packet) break;
    if (usable(packet->relay)) return emit(packet->relay, packet->to, packet->bytes, out);
  }
  return transmit_control(out, now);
}

// The relay carries what is small; a direct path does when no relay can.
std::optional<Session::Transmit> Session::Impl::transmit_control(ByteSpan out, Instant now) {
  const auto current = relays.current();
  const bool by_relay = current && writable[*current];
  if (current && !by_relay && !direct) return std::nullopt;
  while (control) {
    auto bytes = control->poll_packet(now);
    if (!bytes) break;
    if (!by_relay && direct) return emit_direct(*bytes, out);
    if (!by_relay) continue;  // no way at all: as good as lost, and the timers go on
    // While the peer may be deaf on this relay, small things go through every relay.
    for (std::size_t i = 0; silent_since && i < relays.size(); ++i) {
      if (i != *current) copies.emplace_back(i, *bytes);
    }
    return emit(*current, peer, *bytes, out);
  }
  return std::nullopt;
}

std::optional<Session::Transmit> Session::Impl::transmit_bulk(ByteSpan out, Instant now, bulk::Seal* later) {
  if (is_blocked()) {
    if (sender) sender->on_blocked(now);
    return std::nullopt;
  }
  for (;;) {
    std::optional<bulk::Transmit> sent;
    if (sender) sent = sender->poll_transmit(out, now, later);
    if (receiver && !sent) sent = receiver->poll_transmit(out, now);
    if (!sent) break;
    if (sent->path >= kDirectPath) {
      if (!direct) continue;  // as good as lost
      direct_bytes += sent->size;
      paths->on_traffic(now);
      return path::Transmit{direct->socket, direct->remote, sent->size, 0,
                            static_cast<std::uint8_t>(sent->path - kDirectPath)};
    }
    if (!relays.is_up(sent->path)) continue;
    count_bytes(sent->path, sent->size);
    return RelayTransmit{sent->path, peer, sent->size};
  }
  return std::nullopt;
}

void Session::Impl::read_stream() {
  if (state == State::Closing &&
      ((sender && sender->abort_settled()) || (receiver && receiver->abort_settled())))
    finishing = true;
  for (;;) {
    std::optional<bulk::StreamEvent> event;
    if (sender) event = sender->poll_event();
    if (receiver && !event) event = receiver->poll_event();
    if (!event) return;
    if (const auto* ended = std::get_if<bulk::StreamEnded>(&*event)) {
      events.push_back(StreamReadable{ended->bytes});
    } else if (const auto* aborted = std::get_if<bulk::StreamAborted>(&*event)) {
      close_with({SessionEnd::Aborted, std::nullopt, *aborted}, aborted->by_peer);
    } else {
      close_with({SessionEnd::Complete, std::nullopt, std::nullopt}, true);
    }
  }
}

// Some room is kept for the session's own messages: a peer that acknowledges nothing must still be found.
bool Session::Impl::send_message(ByteView message, Instant now) {
  if (state != State::Open || !control || control->unacknowledged() >= kMaxCommandMessages) return false;
  if (!control->send(wire::serialize(wire::CommandMsg{to_bytes(message)}), now)) return false;
  messages_sent = true;
  return true;
}

// The sender ends when the stream is confirmed, so whatever it should hear must have arrived before.
void Session::Impl::confirm_when_heard(Instant now) {
  if (!confirm_wanted || (messages_sent && control && !control->all_acknowledged())) return;
  confirm_wanted = false;
  receiver->confirm(now);
}

// Over, but the last packets must leave first: `now_or_never` when nothing of the peer is awaited any more.
void Session::Impl::close_with(SessionEnded end_in, bool nothing_awaited) {
  if (state == State::Ended || result) return;
  result = std::move(end_in);
  state = State::Closing;
  finishing = nothing_awaited;
}

void Session::Impl::finish_closing() {
  if (state == State::Ended) return;
  state = State::Ended;
  events.push_back(*result);
}

void Session::Impl::end(SessionEnd how, std::optional<RejectReason> reject) {
  if (state == State::Ended) return;
  result = SessionEnded{how, reject, std::nullopt};
  finish_closing();
}

void Session::Impl::abort(bulk::AbortCode code, std::string reason, Instant now) {
  if (state == State::Ended || state == State::Closing) return;
  if (!sender && !receiver) {
    result =
        SessionEnded{SessionEnd::Aborted, std::nullopt, bulk::StreamAborted{code, std::move(reason), false}};
    return finish_closing();
  }
  goodbye_until = now + kGoodbyeLimit;
  if (sender) sender->abort(code, std::move(reason), now);
  if (receiver) receiver->abort(code, std::move(reason), now);
  read_stream();
}

}  // namespace dh::session
