#include "session/tunnel_dialer.hh"

#include <algorithm>

#include "base/check.hh"
#include "session/limits.hh"

namespace dh::session {

TunnelDialer::TunnelDialer(const TunnelDialerConfig& config, Instant now, UnixSeconds wall, Rng& rng)
    : config_(config), rng_(rng), started_(now), give_up_(now + config.wait), last_wall_(wall) {
  if (config_.token.expires + std::chrono::duration_cast<std::chrono::seconds>(kClockTolerance) <= wall)
    fail(SessionEnd::Expired);
}
TunnelDialer::~TunnelDialer() = default;

void TunnelDialer::fail(SessionEnd end, std::optional<RejectReason> reject) {
  if (state_ == State::Failed) return;
  state_ = State::Failed;
  if (link_) link_->drop(TunnelEnd::ClosedByUs);  // stays: others may still refer to it
  for (auto& initiator : initiators_) initiator.reset();
  events_.push_back(DialFailed{end, reject});
}

void TunnelDialer::knock(std::size_t relay, Instant now) {
  InitiatorConfig initiator;
  initiator.token = config_.token;
  initiator.own_derp = config_.derp_key.pub;
  initiator.relay_name = relay_name(config_.token.relays[relay]);
  initiator.claim.protocol_version = kProtocolVersion;
  initiator.claim.capability = static_cast<std::uint32_t>(Capability::Share);
  initiator.claim.aead_kinds = 1;
  initiators_[relay].emplace(initiator, now, last_wall_, rng_);
}

void TunnelDialer::on_relay_up(std::size_t relay, Instant now) {
  up_[relay] = ever_up_ = true;
  if (link_) {
    link_->on_relay_up(relay, now);
  } else if (state_ == State::Meeting) {
    knock(relay, now);
  }
}

void TunnelDialer::on_relay_down(std::size_t relay, Instant now) {
  up_[relay] = writable_[relay] = false;
  initiators_[relay].reset();
  want_others_ = true;
  if (link_) link_->on_relay_down(relay, now);
}

void TunnelDialer::on_relay_writable(std::size_t relay, bool writable) {
  writable_[relay] = writable;
  if (link_) link_->on_relay_writable(relay, writable);
}

void TunnelDialer::on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now) {
  if (state_ == State::Failed || from != config_.token.listener_derp) return;
  if (link_) {
    link_->on_relay_packet(relay, packet, now);
    read_link(now);
  } else if (initiators_[relay] && initiators_[relay]->on_packet(packet, now)) {
    read_initiator(relay, now);
  }
}

void TunnelDialer::on_peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason,
                                Instant now) {
  if (peer != config_.token.listener_derp) return;
  want_others_ = true;  // it may be on another one of the token's relays
  if (link_) return link_->on_peer_gone(relay, now);
  heard_absent_ = heard_absent_ || reason == derp::PeerGoneReason::NotHere;
  if (initiators_[relay]) initiators_[relay]->on_peer_gone(now);
}

bool TunnelDialer::wants_relay(std::size_t relay) const {
  if (is_over() || relay >= config_.token.relays.size()) return false;
  return relay == 0 || want_others_ || (link_ && link_->wants_other_relays());
}

void TunnelDialer::read_initiator(std::size_t relay, Instant now) {
  while (initiators_[relay]) {
    auto event = initiators_[relay]->poll_event();
    if (!event) return;
    auto* ready = std::get_if<KeysReady>(&*event);
    if (ready == nullptr) return fail(SessionEnd::TokenRefused);
    TunnelLinkConfig link;
    link.dialer = true;
    link.relays = config_.token.relays;
    link.dialer_derp = config_.derp_key.pub;
    link.listener_derp = config_.token.listener_derp;
    link.paths = config_.paths;
    link.wait = config_.wait;
    link_ = std::make_unique<TunnelLink>(link, ready->keys, std::move(ready->channel), now, rng_);
    for (std::size_t i = 0; i < config_.token.relays.size(); ++i) {
      if (up_[i]) link_->on_relay_up(i, now);
      link_->on_relay_writable(i, writable_[i]);
    }
    link_->follow_relay(relay, now);
    for (auto& initiator : initiators_) initiator.reset();
  }
}

void TunnelDialer::read_link(Instant) {
  if (!link_ || state_ != State::Meeting) return;
  bool yes = link_->quic().is_established();  // the answer itself may be late; this proves it
  while (auto message = link_->poll_message()) {
    if (const auto* rejected = std::get_if<wire::ClaimRejected>(&*message))
      return fail(SessionEnd::Rejected, rejected->reason);
    yes = yes || std::holds_alternative<ClaimAccepted>(*message);
  }
  if (!yes) return;
  state_ = State::Open;
  give_up_.reset();
  events_.push_back(DialerOpen{});
}

void TunnelDialer::on_timeout(Instant now, UnixSeconds wall) {
  last_wall_ = wall;
  if (state_ == State::Failed) return;
  for (std::size_t i = 0; i < initiators_.size(); ++i) {
    if (!initiators_[i]) continue;
    initiators_[i]->on_timeout(now);
    read_initiator(i, now);
  }
  if (link_) link_->on_timeout(now);
  read_link(now);
  if (state_ != State::Meeting) return;
  const bool any_up = std::find(up_.begin(), up_.end(), true) != up_.end();
  if (now - started_ >= kSecondRelayAfter && !any_up) want_others_ = true;
  if (!is_due(give_up_, now)) return;
  if (!ever_up_) return fail(SessionEnd::NoRelay);
  fail(heard_absent_ || !any_up ? SessionEnd::NobodyThere : SessionEnd::ListenerSilent);
}

void TunnelDialer::close(std::string reason, Instant now) {
  if (link_) return link_->close(std::move(reason), now);
  state_ = State::Failed;
}

std::optional<Session::Transmit> TunnelDialer::poll_transmit(ByteSpan out, Instant now) {
  if (link_) return link_->poll_transmit(out, now);
  for (std::size_t i = 0; i < initiators_.size(); ++i) {
    if (!initiators_[i] || !up_[i] || !writable_[i]) continue;
    auto bytes = initiators_[i]->poll_packet();
    if (!bytes) continue;
    CHECK(bytes->size() <= out.size());
    std::copy(bytes->begin(), bytes->end(), out.begin());
    return Session::RelayTransmit{i, config_.token.listener_derp, bytes->size()};
  }
  return std::nullopt;
}

std::optional<std::size_t> TunnelDialer::poll_more(ByteSpan out, Instant now) {
  return link_ ? link_->poll_more(out, now) : std::nullopt;
}

std::optional<TunnelDialerEvent> TunnelDialer::poll_event() {
  if (!events_.empty()) {
    TunnelDialerEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  if (!link_) return std::nullopt;
  if (auto event = link_->poll_event()) return *event;
  return std::nullopt;
}

std::optional<Instant> TunnelDialer::next_timeout() const {
  std::optional<Instant> next = give_up_;
  if (state_ == State::Failed) return std::nullopt;
  for (const auto& initiator : initiators_)
    if (initiator) next = earlier(next, initiator->next_timeout());
  if (state_ == State::Meeting && !want_others_ && !ever_up_)
    next = earlier(next, started_ + kSecondRelayAfter);
  if (link_) next = earlier(next, link_->next_timeout());
  return next;
}

}  // namespace dh::session
