#include "session/tunnel_listener.hh"

#include <algorithm>

#include "base/check.hh"
#include "wire/control_packet.hh"
#include "wire/datagram.hh"

namespace dh::session {
namespace {

GateConfig gate_config(const TunnelListenerConfig& config) {
  GateConfig out;
  out.token = config.token;
  out.noise_static = config.noise_key;
  for (const RelayRef& relay : config.token.relays) out.relay_names.push_back(relay_name(relay));
  out.slots = config.max_clients + 1;  // the last one is told Busy, or takes a dead one's place
  return out;
}

}  // namespace

TunnelListener::TunnelListener(const TunnelListenerConfig& config, Instant now, Rng& rng)
    : config_(config), rng_(rng), gate_(gate_config(config), now, rng) {}
TunnelListener::~TunnelListener() = default;

void TunnelListener::on_relay_up(std::size_t relay, Instant now) {
  up_[relay] = true;
  for (auto& [id, link] : links_) link->on_relay_up(relay, now);
}

void TunnelListener::on_relay_down(std::size_t relay, Instant now) {
  up_[relay] = writable_[relay] = false;
  for (auto& [id, link] : links_) link->on_relay_down(relay, now);
}

void TunnelListener::on_relay_writable(std::size_t relay, bool writable) {
  writable_[relay] = writable;
  for (auto& [id, link] : links_) link->on_relay_writable(relay, writable);
}

void TunnelListener::on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now,
                                     UnixSeconds wall) {
  const auto kind = wire::datagram_kind(packet);
  std::optional<std::uint32_t> index;
  if (kind == wire::DatagramKind::Control) {
    index = wire::control_receiver_index(packet);
  } else if (kind != wire::DatagramKind::Handshake && quic::looks_like_quic(packet)) {
    index = quic::server_index(packet);
  }
  if (index) {
    if (TunnelLink* found = link(*index); found != nullptr && found->peer() == from)
      return found->on_relay_packet(relay, packet, now);
  }
  if (closing_ || (kind != wire::DatagramKind::Handshake && kind != wire::DatagramKind::Control)) {
    ++unknown_packets_;  // a stranger's, or of a client that is gone: silence
    return;
  }
  gate_.on_packet(relay_name(config_.token.relays[relay]), from, packet, now, wall);
  read_gate(now);
}

void TunnelListener::on_peer_gone(std::size_t relay, const PublicKey& peer, Instant now) {
  for (auto& [id, link] : links_)
    if (link->peer() == peer) link->on_peer_gone(relay, now);
}

void TunnelListener::read_gate(Instant now) {
  while (auto arrived = gate_.poll_event()) {
    // Whoever is just saying goodbye has left its place.
    const std::size_t living = static_cast<std::size_t>(std::count_if(
        links_.begin(), links_.end(), [](const auto& entry) { return entry.second->is_open(); }));
    if (closing_ || (living >= config_.max_clients && !make_room(now))) {
      gate_.reject(std::move(*arrived), RejectReason::Busy, now);
      continue;
    }
    ClaimAccepted yes;
    yes.protocol_version = kProtocolVersion;
    yes.aead_kind = 1;  // QUIC chooses its own; the field must name one
    gate_.accept(*arrived, yes, now);
    TunnelLinkConfig link;
    link.relays = config_.token.relays;
    link.dialer_derp = arrived->from;
    link.listener_derp = config_.token.listener_derp;
    link.paths = config_.paths;
    link.wait = config_.wait;
    link.control_rtt = arrived->round_trip;
    const PeerId id = arrived->keys.local_index;
    auto made = std::make_unique<TunnelLink>(link, arrived->keys, std::move(arrived->channel), now, rng_);
    events_.push_back(ClientArrived{id, arrived->from});
    for (std::size_t i = 0; i < config_.token.relays.size(); ++i) {
      if (up_[i]) made->on_relay_up(i, now);
      made->on_relay_writable(i, writable_[i]);
    }
    made->follow_relay(arrived->relay, now);
    links_[id] = std::move(made);
  }
}

// Who has been silent for long may be asleep, or dead. As long as there is room nobody has to know.
bool TunnelListener::make_room(Instant now) {
  TunnelLink* most = nullptr;
  for (auto& [id, link] : links_) {
    const auto silent = link->silent_for(now);
    if (link->is_open() && silent && *silent >= kReplaceAfter &&
        (most == nullptr || *silent > *most->silent_for(now)))
      most = link.get();
  }
  if (most == nullptr) return false;
  most->drop(TunnelEnd::Replaced);
  return true;
}

void TunnelListener::on_timeout(Instant now) {
  gate_.on_timeout(now);
  read_gate(now);
  for (auto& [id, link] : links_) link->on_timeout(now);
}

void TunnelListener::close(std::string reason, Instant now) {
  closing_ = true;
  for (auto& [id, link] : links_) link->close(reason, now);
}

std::optional<TunnelListener::Transmit> TunnelListener::poll_transmit(ByteSpan out, Instant now) {
  while (auto packet = gate_.poll_packet()) {
    if (!up_[packet->relay] || !writable_[packet->relay]) continue;
    CHECK(packet->bytes.size() <= out.size());
    std::copy(packet->bytes.begin(), packet->bytes.end(), out.begin());
    return Transmit{0, Session::RelayTransmit{packet->relay, packet->to, packet->bytes.size()}};
  }
  // Each client's turn, beginning behind the one that sent last.
  auto at = links_.upper_bound(last_served_);
  for (std::size_t i = 0; i < links_.size(); ++i, ++at) {
    if (at == links_.end()) at = links_.begin();
    if (auto sent = at->second->poll_transmit(out, now)) {
      last_served_ = at->first;
      return Transmit{at->first, *sent};
    }
  }
  return std::nullopt;
}

// A link outlives its ClientGone by one call: whoever refers to it lets go when told.
void TunnelListener::read_links() {
  for (auto at = links_.begin(); at != links_.end();) {
    const PeerId id = at->first;
    const auto link = at++;
    if (gone_.contains(id)) {
      gone_.erase(id);
      gate_.release(id);
      links_.erase(link);
      continue;
    }
    while (auto event = link->second->poll_event()) events_.push_back(ClientEvent{id, std::move(*event)});
    if (!link->second->is_ended()) continue;
    events_.push_back(ClientGone{id});
    gone_.insert(id);
  }
}

std::optional<std::size_t> TunnelListener::poll_more(ByteSpan out, Instant now) {
  const auto found = links_.find(last_served_);
  return found == links_.end() ? std::nullopt : found->second->poll_more(out, now);
}

std::optional<TunnelListenerEvent> TunnelListener::poll_event() {
  if (events_.empty()) read_links();
  if (events_.empty()) return std::nullopt;
  TunnelListenerEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> TunnelListener::next_timeout() const {
  std::optional<Instant> next = gate_.next_timeout();
  for (const auto& [id, link] : links_) next = earlier(next, link->next_timeout());
  return next;
}

TunnelLink* TunnelListener::link(PeerId peer) {
  const auto found = links_.find(peer);
  return found == links_.end() ? nullptr : found->second.get();
}

}  // namespace dh::session
