#include "session/initiator.hh"

#include <algorithm>

#include "session/cookie_jar.hh"
#include "wire/datagram.hh"

namespace dh::session {

using wire::HandshakeM1;
using wire::HandshakeM2;

Initiator::Initiator(const InitiatorConfig& config, Instant now, UnixSeconds wall, Rng& rng)
    : config_(config),
      rng_(rng),
      static_key_(KeyPair::generate(rng)),
      mac1_to_listener_(mac1_key(config.token.listener_noise)),
      mac1_to_us_(mac1_key(static_key_.pub)),
      cookie_key_(cookie_key(config.token.listener_noise)) {
  time_.wall_seconds = static_cast<std::uint64_t>(wall.time_since_epoch().count());
  knock(now);
}

// A fresh ephemeral key every time: the listener forgets nothing it has seen, and answers nothing twice.
void Initiator::knock(Instant now) {
  HandshakeM1 m1;
  m1.initiator_derp = config_.own_derp;
  do {
    m1.sender_index = static_cast<std::uint32_t>(rng_.u64());
  } while (find(m1.sender_index) != nullptr);
  NoiseHandshake noise =
      make_initiator_noise(config_.token, static_key_, config_.own_derp, config_.relay_name);
  const auto message = noise.write_message(time_.serialize(), rng_);
  if (!message) {  // the token's listener key is a low-order point: nobody can be behind it
    end(InitiatorState::Refused, WrongCredentials{});
    return;
  }
  ++time_.attempt;
  std::copy(message->begin(), message->end(), m1.noise.begin());
  m1.mac1 = blake2b_mac(mac1_to_listener_, ByteView(m1.serialize()).first(HandshakeM1::kMac1At));
  if (cookie_ && now < cookie_->until) m1.mac2 = make_mac2(cookie_->value, m1.serialize());

  outgoing_ = m1.serialize();
  attempts_.push_back({m1.sender_index, std::move(noise), m1.mac1, false});
  if (attempts_.size() > kMaxAttempts) attempts_.pop_front();
  ++counters_.sent;
  next_knock_ = now + from_seconds(to_seconds(interval_) * (1 + kRetryJitter * rng_.unit()));
  interval_ = std::min(interval_ * 3 / 2, kMaxRetry);
}

void Initiator::end(InitiatorState state, InitiatorEvent event) {
  state_ = state;
  event_ = std::move(event);
  attempts_.clear();
  outgoing_.reset();
  next_knock_.reset();
  refuse_at_.reset();
}

Initiator::Attempt* Initiator::find(std::uint32_t index) {
  const auto found = std::find_if(attempts_.begin(), attempts_.end(),
                                  [index](const Attempt& attempt) { return attempt.index == index; });
  return found == attempts_.end() ? nullptr : &*found;
}

bool Initiator::on_packet(ByteView packet, Instant now) {
  if (packet.empty()) return false;
  const auto type = static_cast<std::uint8_t>(packet[0]);
  if (type != HandshakeM2::kType && type != wire::CookieReply::kType) return false;
  if (state_ != InitiatorState::Knocking) {
    ++counters_.late;
  } else if (type == HandshakeM2::kType) {
    on_m2(packet, now);
  } else {
    on_cookie(packet, now);
  }
  return true;
}

void Initiator::on_m2(ByteView packet, Instant now) {
  const auto m2 = HandshakeM2::parse(packet);
  if (!m2) {
    ++counters_.malformed;
    return;
  }
  Attempt* attempt = find(m2->receiver_index);
  if (attempt == nullptr) {
    ++counters_.unknown_index;
    return;
  }
  // Our static key travelled sealed to the listener: a relay that makes up an M2 stops here.
  if (!constant_time_equal(m2->mac1, blake2b_mac(mac1_to_us_, packet.first(HandshakeM2::kMac1At)))) {
    ++counters_.bad_mac;
    return;
  }
  NoiseHandshake noise = attempt->noise;
  const auto payload = noise.read_message(m2->noise);
  if (!payload || !payload->empty()) {
    ++counters_.refused;
    if (!refuse_at_) refuse_at_ = now + kRefusedAfter;
    return;
  }
  const SessionKeys keys = session_keys(noise, attempt->index, m2->sender_index, true);
  KeysReady ready{keys, ControlChannel(keys)};
  ready.channel.send(wire::serialize(config_.claim), now);
  end(InitiatorState::Done, std::move(ready));
}

void Initiator::on_cookie(ByteView packet, Instant now) {
  const auto reply = wire::CookieReply::parse(packet);
  if (!reply) {
    ++counters_.malformed;
    return;
  }
  Attempt* attempt = find(reply->receiver_index);
  if (attempt == nullptr || attempt->cookie_used) {
    ++counters_.unknown_index;
    return;
  }
  const auto value = open_cookie(cookie_key_, *reply, attempt->mac1);
  if (!value) {
    ++counters_.bad_mac;
    return;
  }
  attempt->cookie_used = true;
  cookie_ = Cookie{*value, now + kCookieLifetime};
  ++counters_.cookies;
  knock_early(now, Duration::zero());
}

void Initiator::on_peer_gone(Instant now) {
  if (state_ == InitiatorState::Knocking) knock_early(now, kGoneRetry);
}

void Initiator::knock_early(Instant now, Duration after) {
  if (last_early_knock_ && now < *last_early_knock_ + kEarlyEvery) return;
  last_early_knock_ = now;
  next_knock_ = earlier(next_knock_, now + after);
}

void Initiator::on_timeout(Instant now) {
  if (state_ != InitiatorState::Knocking) return;
  if (is_due(refuse_at_, now)) {
    end(InitiatorState::Refused, WrongCredentials{});
  } else if (is_due(next_knock_, now)) {
    knock(now);
  }
}

std::optional<Bytes> Initiator::poll_packet() {
  return std::exchange(outgoing_, std::nullopt);
}

std::optional<InitiatorEvent> Initiator::poll_event() {
  return std::exchange(event_, std::nullopt);
}

std::optional<Instant> Initiator::next_timeout() const {
  return earlier(next_knock_, refuse_at_);
}

}  // namespace dh::session
