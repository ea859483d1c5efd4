#include "session/tunnel_link.hh"

#include <algorithm>
#include <cstring>

#include "base/check.hh"
#include "session/probe_keys.hh"
#include "session/tunnel_link_impl.hh"
#include "wire/datagram.hh"

namespace dh::session {
namespace {

constexpr std::size_t kMaxMessages = 16;  // unread by the owner; there is one, the claim's answer

quic::Config quic_config(const TunnelLinkConfig& config, const SessionKeys& keys) {
  quic::Config out;
  out.server = !config.dialer;
  const Secret<64> psk = export_key(keys, "quic psk");
  std::memcpy(out.psk.uchar(), psk.uchar(), 32);
  const Secret<64> id = export_key(keys, "quic dcid");
  std::memcpy(out.first_connection_id.data(), id.uchar(), out.first_connection_id.size());
  out.index = config.dialer ? keys.peer_index : keys.local_index;  // of the listener, always
  store_be32(out.first_connection_id.data(), out.index);
  out.datagram_bytes = quic::kMaxDatagramBytes;  // relays come first
  out.rtt = config.control_rtt;
  out.controller = config.controller;
  return out;
}

}  // namespace

std::string_view to_string(TunnelEnd end) {
  switch (end) {
    case TunnelEnd::ClosedByUs:
      return "closed by us";
    case TunnelEnd::ClosedByPeer:
      return "closed by the peer";
    case TunnelEnd::NetworkLost:
      return "network lost";
    case TunnelEnd::NoDirectPath:
      return "no direct path";
    case TunnelEnd::Broken:
      return "protocol violated";
    case TunnelEnd::Replaced:
      return "replaced";
  }
  return "unknown";
}

TunnelLink::Impl::Impl(const TunnelLinkConfig& config_in, const SessionKeys& keys, ControlChannel channel,
                       Instant now, Rng& rng)
    : config(config_in),
      control(std::move(channel)),
      relays(config.relays.size()),
      quic(quic_config(config, keys), now, rng),
      started(now) {
  if (config.paths == PathPolicy::ForceRelay) return;
  path::PathConfig finder;
  finder.dialer = config.dialer;
  finder.loopback_peer = std::any_of(config.relays.begin(), config.relays.end(),
                                     [](const RelayRef& relay) { return relay.plain_http; });
  paths.emplace(finder, now, rng);
  if (config.control_rtt) paths->on_control_rtt(*config.control_rtt);
  paths->start(probe_keys(keys, config.dialer_derp, config.listener_derp), now);
  if (needs_direct()) direct_deadline = now + config.wait;
}

void TunnelLink::Impl::relay_packet(std::size_t relay, ByteView bytes, Instant now) {
  if (state == State::Ended) return;
  if (wire::datagram_kind(bytes) == wire::DatagramKind::Control) {
    if (!control.on_packet(bytes, now)) {
      ++counters.unknown_packets;
      return;
    }
    heard_on_relay(relay, now);
    return read_control(now);
  }
  if (!quic::looks_like_quic(bytes) || needs_direct()) {
    ++counters.unknown_packets;
    return;
  }
  counters.relay_bytes += bytes.size();
  if (quic.on_datagram(bytes, now)) heard_on_relay(relay, now);
}

void TunnelLink::Impl::heard_on_relay(std::size_t relay, Instant now) {
  const auto last = last_heard();
  const auto current = relays.current();
  // The dialer chooses; the listener follows it.
  if (!config.dialer && current && *current != relay &&
      (!last || now - *last > kFollowAfter || relays.is_suspect(*current)))
    relays.follow(relay);
  relays.heard(relay, now);
  relay_changed(now);
  heard(now);
}

void TunnelLink::Impl::heard(Instant now) {
  if (!silent_since) return;
  events.push_back(PeerBack{now - *silent_since});
  silent_since.reset();
  // Whatever the connection waited for with ever longer pauses: it may ask again now.
  quic.on_path_changed(direct ? direct->datagram_bytes : quic::kMaxDatagramBytes, now);
}

void TunnelLink::Impl::read_control(Instant now) {
  while (auto bytes = control.poll_message()) {
    auto message = wire::parse_session_msg(*bytes);
    if (!message) continue;
    if (const auto* call = std::get_if<wire::CallMeMaybe>(&*message)) {
      if (paths) paths->on_call(*call, now);
      read_paths(now);
    } else if (auto* close = std::get_if<wire::Close>(&*message)) {
      // The acknowledgement leaves first: goodbye_until is now, and the end comes with the next timeout.
      if (state == State::Open)
        events.push_back(TunnelEnded{TunnelEnd::ClosedByPeer, std::move(close->reason)});
      state = State::Closing;
      goodbye_until = earlier(goodbye_until, now + ControlChannel::kAckDelay * 2);
    } else if (!std::holds_alternative<wire::Ping>(*message) && messages.size() < kMaxMessages) {
      messages.push_back(std::move(*message));
    }
  }
}

// ---- the public face --------------------------------------------------------------------------------------

TunnelLink::TunnelLink(const TunnelLinkConfig& config, const SessionKeys& keys, ControlChannel channel,
                       Instant now, Rng& rng)
    : impl_(std::make_unique<Impl>(config, keys, std::move(channel), now, rng)) {}
TunnelLink::~TunnelLink() = default;

void TunnelLink::on_relay_up(std::size_t relay, Instant now) {
  impl_->only_quic = false;
  impl_->relays.up(relay);
  impl_->relay_changed(now);
}
void TunnelLink::on_relay_down(std::size_t relay, Instant now) {
  impl_->only_quic = false;
  impl_->relays.down(relay);
  impl_->writable[relay] = false;
  impl_->want_others = true;
  impl_->relay_changed(now);
}
void TunnelLink::on_relay_writable(std::size_t relay, bool writable) {
  impl_->only_quic = false;
  impl_->writable[relay] = writable;
}
void TunnelLink::on_relay_packet(std::size_t relay, ByteView packet, Instant now) {
  impl_->only_quic = false;
  impl_->relay_packet(relay, packet, now);
}
void TunnelLink::on_peer_gone(std::size_t relay, Instant now) {
  impl_->only_quic = false;
  impl_->relays.suspect(relay);
  impl_->want_others = true;
  impl_->relay_changed(now);
  impl_->ping(now);  // if it is really gone, that shows
}
void TunnelLink::follow_relay(std::size_t relay, Instant now) {
  impl_->only_quic = false;
  impl_->relays.follow(relay);
  impl_->relays.heard(relay, now);
  impl_->relay_changed(now);
}
void TunnelLink::on_udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan datagram,
                                 Instant now) {
  impl_->only_quic = false;
  impl_->udp_datagram(socket, from, datagram, now);
}
void TunnelLink::on_timeout(Instant now) {
  impl_->only_quic = false;
  impl_->timeout(now);
}
void TunnelLink::close(std::string reason, Instant now) {
  impl_->only_quic = false;
  impl_->close(std::move(reason), now);
}
void TunnelLink::drop(TunnelEnd end) {
  impl_->end(end);
}
std::optional<Session::Transmit> TunnelLink::poll_transmit(ByteSpan out, Instant now) {
  return impl_->transmit(out, now);
}
std::optional<std::size_t> TunnelLink::poll_more(ByteSpan out, Instant now) {
  return impl_->transmit_more(out, now);
}
std::optional<TunnelEvent> TunnelLink::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  TunnelEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}
std::optional<wire::SessionMsg> TunnelLink::poll_message() {
  if (impl_->messages.empty()) return std::nullopt;
  wire::SessionMsg message = std::move(impl_->messages.front());
  impl_->messages.pop_front();
  return message;
}
std::optional<Instant> TunnelLink::next_timeout() const {
  return impl_->next_timeout();
}
quic::Connection& TunnelLink::quic() {
  return impl_->quic;
}
const quic::Connection& TunnelLink::quic() const {
  return impl_->quic;
}
path::PathFinder* TunnelLink::paths() {
  impl_->only_quic = false;  // it may be told something that makes it send
  return impl_->paths ? &*impl_->paths : nullptr;
}
const PublicKey& TunnelLink::peer() const {
  return impl_->peer();
}
bool TunnelLink::wants_other_relays() const {
  return impl_->want_others;
}
bool TunnelLink::is_ended() const {
  return impl_->state == Impl::State::Ended;
}
bool TunnelLink::is_open() const {
  return impl_->state == Impl::State::Open;
}
bool TunnelLink::is_direct() const {
  return impl_->direct.has_value();
}
std::optional<Duration> TunnelLink::silent_for(Instant now) const {
  if (!impl_->silent_since) return std::nullopt;
  return now - *impl_->silent_since;
}
TunnelCounters TunnelLink::counters() const {
  TunnelCounters out = impl_->counters;
  out.quic = impl_->quic.counters();
  return out;
}

}  // namespace dh::session
