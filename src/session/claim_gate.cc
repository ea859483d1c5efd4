#include "session/claim_gate.hh"

#include <algorithm>
#include <bit>
#include <map>

#include "base/check.hh"
#include "wire/control_packet.hh"
#include "wire/datagram.hh"

namespace dh::session {

using wire::HandshakeM1;
using wire::HandshakeM2;

ClaimGate::ClaimGate(GateConfig config, Instant now, Rng& rng)
    : config_(std::move(config)),
      rng_(rng),
      mac1_key_(mac1_key(config_.noise_static.pub)),
      cookies_(config_.noise_static.pub, now, rng) {
  CHECK(config_.noise_static.pub == config_.token.listener_noise);
  CHECK(config_.relay_names.size() == config_.token.relays.size());
  CHECK(config_.slots > 0);
}

bool ClaimGate::on_packet(std::string_view relay_name, const PublicKey& from, ByteView packet, Instant now,
                          UnixSeconds wall) {
  const auto relay = relay_index(relay_name);
  if (!relay) {
    ++counters_.wrong_relay;
    return false;
  }
  switch (wire::datagram_kind(packet)) {
    case wire::DatagramKind::Handshake:
      return on_m1(*relay, from, packet, now);
    case wire::DatagramKind::Control:
      return on_control(packet, now, wall);
    case wire::DatagramKind::Bulk:
    case wire::DatagramKind::Probe:
    case wire::DatagramKind::Unknown:
      ++counters_.malformed;
      return false;
  }
  return false;
}

// Cheapest first. A stranger costs one BLAKE2b; a replay one table look-up more; a holder of the token who
// misbehaves is slowed down by its routing key, and pays a round trip under load.
bool ClaimGate::on_m1(std::size_t relay, const PublicKey& from, ByteView packet, Instant now) {
  const auto m1 = HandshakeM1::parse(packet);
  if (!m1) {
    ++counters_.malformed;
    return false;
  }
  ++counters_.m1_received;
  if (m1->initiator_derp != from) {
    ++counters_.wrong_sender;
    return false;
  }
  if (!constant_time_equal(m1->mac1, blake2b_mac(mac1_key_, packet.first(HandshakeM1::kMac1At)))) {
    ++counters_.bad_mac;
    return false;
  }
  if (limits_.seen(m1->ephemeral())) {
    ++counters_.replayed;
    return false;
  }
  const bool busy = !limits_.within_rate(now) || is_loaded(now);
  if (busy && !cookies_.verify(from, packet, now)) {
    ++counters_.cookies_sent;
    send(relay, from, cookies_.reply(from, *m1, now).serialize());
    return false;
  }
  if (!limits_.sender_may(from, now)) {
    ++counters_.limited;
    return false;
  }
  return answer_m1(relay, from, *m1, now);
}

bool ClaimGate::answer_m1(std::size_t relay, const PublicKey& from, const HandshakeM1& m1, Instant now) {
  NoiseHandshake noise =
      make_responder_noise(config_.token, config_.noise_static, from, config_.relay_names[relay]);
  const auto payload = noise.read_message(m1.noise);
  const auto time = payload ? HandshakeTime::parse(*payload) : std::unexpected(WireError::BadValue);
  if (!time) {
    ++counters_.forged;
    return false;
  }
  limits_.remember(m1.ephemeral());
  const PublicKey initiator = *noise.remote_static();
  if (is_stale(initiator, *time)) {
    ++counters_.replayed;
    return false;
  }
  if (!make_room(from, now)) {
    ++counters_.limited;
    return false;
  }
  const auto answer = noise.write_message({}, rng_);
  if (!answer) {
    ++counters_.forged;
    return false;
  }
  HandshakeM2 m2;
  m2.receiver_index = m1.sender_index;
  m2.sender_index = fresh_index();
  std::copy(answer->begin(), answer->end(), m2.noise.begin());
  m2.mac1 = blake2b_mac(mac1_key(initiator), ByteView(m2.serialize()).first(HandshakeM2::kMac1At));
  const SessionKeys keys = session_keys(noise, m2.sender_index, m1.sender_index, false);
  pending_.push_back(Pending{PendingState::AwaitingClaim, keys, ControlChannel(keys), from, initiator, *time,
                             relay, now + kPendingLifetime, Claim{}});
  ++counters_.m2_sent;
  send(relay, from, m2.serialize());
  return true;
}

bool ClaimGate::on_control(ByteView packet, Instant now, UnixSeconds wall) {
  const auto index = wire::control_receiver_index(packet);
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&](const Pending& p) { return index == p.keys.local_index; });
  if (found == pending_.end()) {
    ++counters_.unknown_index;
    return false;
  }
  if (!found->channel.on_packet(packet, now)) {
    ++counters_.bad_control;
    return false;
  }
  if (found->state == PendingState::AwaitingClaim) {
    const auto message = found->channel.poll_message();
    if (message && !on_claim(*found, *message, now, wall)) {
      ++counters_.protocol_errors;
      pending_.erase(found);
      return true;
    }
  }
  drain(*found, now);
  if (found->state == PendingState::Refusing && found->channel.all_acknowledged()) pending_.erase(found);
  return true;
}

// The first message of a channel. false: authentic, but no claim.
bool ClaimGate::on_claim(Pending& pending, ByteView message, Instant now, UnixSeconds wall) {
  const auto parsed = wire::parse_session_msg(message);
  const auto* claim = parsed ? std::get_if<Claim>(&*parsed) : nullptr;
  if (claim == nullptr) return false;
  ++counters_.claims;
  pending.claim = *claim;
  pending.round_trip = now - (pending.deadline - kPendingLifetime);
  if (const auto reason = judge(*claim, wall)) {
    refuse(pending, *reason, now);
  } else {
    pending.state = PendingState::Claiming;
    pending.deadline = now + kDecisionLimit;
  }
  return true;
}

std::optional<RejectReason> ClaimGate::judge(const Claim& claim, UnixSeconds wall) const {
  if (claim.protocol_version != kProtocolVersion) return RejectReason::WrongVersion;
  if (wall >= config_.token.expires) return RejectReason::Expired;
  if (std::popcount(claim.capability) != 1 || (claim.capability & config_.token.capabilities) == 0)
    return RejectReason::WrongCapability;
  if (is_taken()) return RejectReason::AlreadyClaimed;
  return std::nullopt;
}

void ClaimGate::refuse(Pending& pending, RejectReason reason, Instant now) {
  pending.state = PendingState::Refusing;
  pending.deadline = now + kDecisionLimit;
  pending.channel.send(wire::serialize(wire::ClaimRejected{reason}), now);
  ++counters_.rejected;
  drain(pending, now);
}

std::optional<ClaimArrived> ClaimGate::poll_event() {
  if (deciding_ || is_taken()) return std::nullopt;
  const auto next = std::find_if(pending_.begin(), pending_.end(),
                                 [](const Pending& p) { return p.state == PendingState::Claiming; });
  if (next == pending_.end()) return std::nullopt;
  ClaimArrived arrived{next->keys,  std::move(next->channel), next->claim, next->from,
                       next->relay, next->round_trip};
  pending_.erase(next);
  deciding_ = arrived.keys.local_index;
  return arrived;
}

void ClaimGate::accept(ClaimArrived& arrived, const ClaimAccepted& answer, Instant now) {
  CHECK(deciding_ == arrived.keys.local_index);
  deciding_.reset();
  sessions_.push_back(arrived.keys.local_index);
  arrived.channel.send(wire::serialize(answer), now);
  ++counters_.accepted;
  if (!is_taken()) return;
  for (Pending& pending : pending_) {
    if (pending.state == PendingState::Claiming) refuse(pending, RejectReason::AlreadyClaimed, now);
  }
}

void ClaimGate::reject(ClaimArrived&& arrived, RejectReason reason, Instant now) {
  CHECK(deciding_ == arrived.keys.local_index);
  deciding_.reset();
  pending_.push_back(Pending{PendingState::Refusing, arrived.keys, std::move(arrived.channel), arrived.from,
                             PublicKey{}, HandshakeTime{}, arrived.relay, now, arrived.claim});
  refuse(pending_.back(), reason, now);
}

void ClaimGate::release(std::uint32_t local_index) {
  std::erase(sessions_, local_index);
}

void ClaimGate::on_timeout(Instant now) {
  for (std::size_t i = 0; i < pending_.size();) {
    Pending& pending = pending_[i];
    const bool over = pending.deadline <= now;
    if (over && pending.state == PendingState::Claiming) {
      refuse(pending, RejectReason::Busy, now);  // the one before it was not decided in time
    } else if (over) {
      if (pending.state == PendingState::AwaitingClaim) ++counters_.timed_out;
      pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    } else {
      drain(pending, now);
    }
    ++i;
  }
}

std::optional<Instant> ClaimGate::next_timeout() const {
  std::optional<Instant> first;
  for (const Pending& pending : pending_)
    first = earlier(first, earlier(pending.deadline, pending.channel.next_timeout()));
  return first;
}

std::optional<GatePacket> ClaimGate::poll_packet() {
  if (outgoing_.empty()) return std::nullopt;
  GatePacket packet = std::move(outgoing_.front());
  outgoing_.pop_front();
  return packet;
}

bool ClaimGate::is_full() const {
  return pending_.size() + (deciding_ ? 1 : 0) >= kMaxPending;
}

/// Its dialer is gone, or cut off and waiting: it asks nothing of us, and must not make others prove
/// themselves.
bool ClaimGate::is_idle(const Pending& pending, Instant now) {
  return pending.state == PendingState::AwaitingClaim &&
         now >= pending.deadline - (kPendingLifetime - kIdleAfter);
}

bool ClaimGate::is_loaded(Instant now) const {
  const auto idle =
      std::count_if(pending_.begin(), pending_.end(), [now](const Pending& p) { return is_idle(p, now); });
  return pending_.size() - static_cast<std::size_t>(idle) + (deciding_ ? 1 : 0) >= kMaxPending;
}

// Only handshakes without a verified claim can be pushed out: first the sender's own above its share, then
// refusals, then the longest idle, then the oldest of whoever has most.
bool ClaimGate::make_room(const PublicKey& from, Instant now) {
  std::map<PublicKey, std::size_t> per_sender;
  for (const Pending& pending : pending_) ++per_sender[pending.from];
  if (per_sender[from] >= kMaxPendingPerSender)
    return evict([&](const Pending& p) { return p.from == from; });
  if (!is_full()) return true;
  if (evict([](const Pending& p) { return p.state == PendingState::Refusing; })) return true;
  if (evict([now](const Pending& p) { return is_idle(p, now); })) return true;
  std::size_t most = 0;
  for (const Pending& p : pending_)
    if (p.state == PendingState::AwaitingClaim) most = std::max(most, per_sender[p.from]);
  return evict([&](const Pending& p) { return per_sender[p.from] == most; });
}

bool ClaimGate::evict(const std::function<bool(const Pending&)>& may_go) {
  const auto oldest = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) {
    return p.state != PendingState::Claiming && may_go(p);
  });
  if (oldest == pending_.end()) return false;
  pending_.erase(oldest);
  ++counters_.evicted;
  return true;
}

// A dialer's attempts come with growing numbers; an older one than that at work is late or replayed.
bool ClaimGate::is_stale(const PublicKey& initiator_static, const HandshakeTime& time) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const Pending& p) {
    return p.initiator_static == initiator_static && p.time >= time;
  });
}

std::optional<std::size_t> ClaimGate::relay_index(std::string_view name) const {
  const auto found = std::find(config_.relay_names.begin(), config_.relay_names.end(), name);
  if (found == config_.relay_names.end()) return std::nullopt;
  return static_cast<std::size_t>(found - config_.relay_names.begin());
}

std::uint32_t ClaimGate::fresh_index() {
  for (;;) {
    const auto index = static_cast<std::uint32_t>(rng_.u64());
    const bool used = deciding_ == index || std::ranges::find(sessions_, index) != sessions_.end() ||
                      std::ranges::any_of(pending_, [&](auto& p) { return p.keys.local_index == index; });
    if (!used) return index;
  }
}

void ClaimGate::drain(Pending& pending, Instant now) {
  while (auto packet = pending.channel.poll_packet(now))
    send(pending.relay, pending.from, std::move(*packet));
}

void ClaimGate::send(std::size_t relay, const PublicKey& to, Bytes bytes) {
  if (outgoing_.size() >= kMaxOutgoing) {
    ++counters_.overflow;
    return;
  }
  outgoing_.push_back({relay, to, std::move(bytes)});
}

}  // namespace dh::session
