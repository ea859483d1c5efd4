#include "session/control_channel.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::session {
namespace {

std::unique_ptr<Aead> control_key(const SessionKeys& keys, bool from_initiator) {
  const Secret<64> exported = export_key(keys, from_initiator ? "control i->r" : "control r->i");
  Secret<32> key;
  std::memcpy(key.uchar(), exported.uchar(), 32);
  return make_aead(AeadKind::ChaCha20Poly1305, key);
}

}  // namespace

ControlChannel::ControlChannel(const SessionKeys& keys)
    : seal_(control_key(keys, keys.initiator)),
      open_(control_key(keys, !keys.initiator)),
      local_index_(keys.local_index),
      peer_index_(keys.peer_index) {}

bool ControlChannel::send(Bytes message, Instant now) {
  CHECK(!message.empty() && message.size() <= kMaxMessage);
  if (outgoing_.size() >= kMaxQueued || next_seq_ == UINT32_MAX) return false;
  Outgoing out;
  out.seq = next_seq_++;
  out.message = std::move(message);
  out.queued = now;
  outgoing_.push_back(std::move(out));
  ++counters_.messages_sent;
  return true;
}

bool ControlChannel::on_packet(ByteView packet, Instant now) {
  const auto header = wire::ControlHeader::parse(packet);
  if (!header || header->receiver_index != local_index_) {
    ++counters_.malformed;
    return false;
  }
  auto body = wire::open_control(*open_, packet);
  if (!body && body.error() != WireError::BadValue) {
    ++counters_.forged;
    return false;
  }
  if (!replay_.accept(header->counter)) {
    ++counters_.replayed;
    return false;
  }
  ++counters_.packets_received;
  if (!body) {
    ++counters_.protocol_errors;
    return true;
  }
  on_acknowledgement(*body, now);
  if (body->seq != 0) on_message(body->seq, std::move(body->message), now);
  return true;
}

void ControlChannel::on_acknowledgement(const wire::ControlBody& body, Instant now) {
  if (body.next_expected == 0 || body.next_expected > next_seq_) {
    ++counters_.protocol_errors;
    return;
  }
  bool progress = false;
  for (Outgoing& out : outgoing_) {
    if (out.acknowledged || out.transmissions == 0) continue;
    const std::uint64_t ahead = std::uint64_t{out.seq} - body.next_expected;
    const bool below = out.seq < body.next_expected;
    if (!below && (ahead == 0 || ahead > 64 || (body.received >> (ahead - 1) & 1) == 0)) continue;
    out.acknowledged = true;
    progress = true;
    // Sent twice: nobody knows which copy this answers (Karn).
    if (out.transmissions == 1) sample_rtt(now - *out.sent);
  }
  while (!outgoing_.empty() && outgoing_.front().acknowledged) outgoing_.pop_front();
  if (!progress) return;
  for (Outgoing& out : outgoing_) {  // the path works: waits grown over a dead one are void
    out.backoff = 0;
    if (out.due) out.due = std::max(now, std::min(*out.due, *out.sent + resend_after_));
  }
}

void ControlChannel::on_message(std::uint32_t seq, Bytes message, Instant now) {
  if (message.size() > kMaxMessage || seq == UINT32_MAX) {
    ++counters_.protocol_errors;
    return;
  }
  if (seq < next_expected_ || early_.contains(seq)) {
    ++counters_.duplicates;
    ack_due_ = now;  // our acknowledgement got lost
    return;
  }
  if (ready_.size() + (seq - next_expected_) >= kMaxQueued) {
    ++counters_.out_of_window;
    return;
  }
  ++counters_.messages_received;
  if (seq != next_expected_) {
    early_.emplace(seq, std::move(message));
    ack_due_ = now;  // tells the peer what is missing
    return;
  }
  ready_.push_back(std::move(message));
  ++next_expected_;
  for (auto it = early_.begin(); it != early_.end() && it->first == next_expected_; it = early_.erase(it)) {
    ready_.push_back(std::move(it->second));
    ++next_expected_;
  }
  ack_due_ = earlier(ack_due_, now + kAckDelay);
}

// RFC 6298 §2, with the peer's delayed acknowledgement on top.
void ControlChannel::sample_rtt(Duration sample) {
  if (!smoothed_rtt_) {
    smoothed_rtt_ = sample;
    rtt_variation_ = sample / 2;
  } else {
    const Duration error = *smoothed_rtt_ > sample ? *smoothed_rtt_ - sample : sample - *smoothed_rtt_;
    rtt_variation_ = (3 * rtt_variation_ + error) / 4;
    smoothed_rtt_ = (7 * *smoothed_rtt_ + sample) / 8;
  }
  resend_after_ = std::clamp(*smoothed_rtt_ + 4 * rtt_variation_ + kAckDelay, kMinResend, kMaxResend);
}

Duration ControlChannel::wait_before_resend(const Outgoing& out) const {
  constexpr unsigned kEnough = 6;  // 50 ms doubled six times is above the maximum
  return std::min(resend_after_ * (1 << std::min(out.backoff, kEnough)), kMaxResend);
}

void ControlChannel::resend_now(Instant now) {
  for (Outgoing& out : outgoing_) {
    if (!out.due) continue;
    out.due = now;
    out.backoff = 0;
  }
}

ControlChannel::Outgoing* ControlChannel::next_to_send(Instant now) {
  for (Outgoing& out : outgoing_) {
    if (out.seq - outgoing_.front().seq >= kMaxInFlight) return nullptr;
    if (!out.acknowledged && (!out.due || *out.due <= now)) return &out;
  }
  return nullptr;
}

std::uint64_t ControlChannel::received_bits() const {
  std::uint64_t bits = 0;
  for (const auto& [seq, message] : early_) bits |= 1ull << (seq - next_expected_ - 1);
  return bits;
}

std::optional<Bytes> ControlChannel::poll_packet(Instant now) {
  Outgoing* out = next_to_send(now);
  if (out == nullptr && !is_due(ack_due_, now)) return std::nullopt;
  wire::ControlBody body;
  body.next_expected = next_expected_;
  body.received = received_bits();
  if (out != nullptr) {
    body.seq = out->seq;
    body.message = out->message;
    if (out->transmissions > 0) {
      ++counters_.resent;
      ++out->backoff;
    }
    ++out->transmissions;
    out->sent = now;
    out->due = now + wait_before_resend(*out);
  }
  ack_due_.reset();
  ++counters_.packets_sent;
  return wire::seal_control(*seal_, {peer_index_, next_counter_++}, body);
}

std::optional<Bytes> ControlChannel::poll_message() {
  if (ready_.empty()) return std::nullopt;
  Bytes message = std::move(ready_.front());
  ready_.pop_front();
  return message;
}

std::optional<Instant> ControlChannel::next_timeout() const {
  std::optional<Instant> first = ack_due_;
  for (const Outgoing& out : outgoing_) {
    if (out.seq - outgoing_.front().seq >= kMaxInFlight) break;
    if (!out.acknowledged) first = earlier(first, out.due.value_or(out.queued));
  }
  return first;
}

std::optional<Instant> ControlChannel::waiting_since() const {
  if (outgoing_.empty()) return std::nullopt;
  return outgoing_.front().queued;
}

}  // namespace dh::session
