// What a sender puts on its paths, and when.

#include "bulk/sender_impl.hh"

namespace dh::bulk {

using wire::FrameWriter;

std::optional<Transmit> Sender::poll_transmit(ByteSpan out, Instant now, Seal* later) {
  Impl& s = *impl_;
  s.later = later;
  s.paced = s.limited = false;
  std::optional<Transmit> sent = s.send_control(out, now);
  if (!sent && s.abort.running() && !s.complete) sent = s.send_stream(out, now);
  const bool outstanding = s.outstanding();
  if (outstanding && !s.was_outstanding) s.progress_at = now;
  s.was_outstanding = outstanding;
  if (sent) {
    s.held.on_sent(now);
  } else if (s.complete || !s.abort.running()) {
    s.held.stop(now);
  } else {
    if (s.preferred != nullptr) s.preferred->lanes.end_run();
    const bool timed = s.paced || s.limited;
    s.held.on_held(s.held_by, timed ? s.wake_at() : std::nullopt, now);
  }
  return sent;
}

void Sender::on_blocked(Instant now) {
  impl_->held.on_held(HeldBy::Path, std::nullopt, now);
}

Duration Sender::held(HeldBy by) const {
  return impl_->held.total(by);
}

/// When pacer or rate limit let the next packet go.
std::optional<Instant> Sender::Impl::wake_at() const {
  if (preferred == nullptr) return std::nullopt;
  std::optional<Instant> at;
  if (paced) at = preferred->pacer_wake();
  if (limited) at = earlier(at, rate_limit.wake_at());
  return at;
}

std::optional<Transmit> Sender::Impl::send_control(ByteSpan out, Instant now) {
  if (const auto id = abort.next_path(live(), longest_pto(), now)) {
    SenderPath& path = *find(*id);
    FrameWriter frames(path.channel.plain_part(out));
    frames.abort(static_cast<std::uint16_t>(abort.code()), abort.reason());
    abort.notice().on_sent(*id, path.lanes.first().sealer.next_number());
    return finish_packet(path, path.lanes.first(), out, frames.size(), {.ack_me = true}, true, now);
  }
  for (auto& path : paths) {
    const std::uint64_t bit = std::uint64_t{1} << path->channel.id;
    const bool answers_complete = (complete_ack_paths & bit) != 0;
    if (!answers_complete && !path->acks.is_due(now)) continue;
    SenderPath* via = path->usable ? path.get() : preferred;
    if (via == nullptr) continue;
    FrameWriter frames(via->channel.plain_part(out));
    if (abort.state() == AbortExchange::State::Telling)  // so that any ack of it proves the peer knows
      frames.abort(static_cast<std::uint16_t>(abort.code()), abort.reason());
    if (answers_complete) frames.complete_ack();
    if (path->acks.has_packets()) {
      wire::AckFrame ack;
      ack.path = path->channel.id;
      path->acks.take(ack, now);
      frames.ack(ack);
      ++counters.acks_sent;
    }
    complete_ack_paths &= ~bit;
    return finish_packet(*via, via->lanes.first(), out, frames.size(), {}, false, now);
  }
  return std::nullopt;
}

std::optional<Transmit> Sender::Impl::send_stream(ByteSpan out, Instant now) {
  held_by = HeldBy::Path;
  if (preferred == nullptr) return std::nullopt;
  SenderPath& path = *preferred;
  const bool probe = path.probe_pending();
  const ByteSpan plain = path.channel.plain_part(out.first(std::min(out.size(), path.next_datagram_bytes())));
  const std::size_t most =
      std::min(plain.size() - wire::DataFrame::kOverhead - wire::FinFrame::kSize, rate_limit.packet_bytes());
  const std::optional<SendBuffer::Chunk> chunk = stream.buffer.next_chunk(most, peer_limit);
  const std::uint64_t next_after = stream.buffer.next_offset() + (chunk && chunk->is_new ? chunk->size : 0);
  const bool fin = stream.fin == FinState::Pending && next_after == stream.buffer.end();
  if (!chunk && !fin && !probe) {
    when_idle(now);
    return std::nullopt;
  }
  if (!probe) {
    switch (path.room(now)) {
      case SenderPath::Room::Open:
        break;
      case SenderPath::Room::Paced:
        paced = true;
        return std::nullopt;
      case SenderPath::Room::WindowFull:
        return std::nullopt;
    }
    if (chunk && !rate_limit.may_send(now)) {  // nothing about the path: it could carry more
      path.on_app_limited(now);
      limited = true;
      held_by = HeldBy::Limit;
      return std::nullopt;
    }
  }
  FrameWriter frames(plain);
  SenderPath::Contents contents;
  contents.eliciting = true;
  if (fin) {
    frames.fin({stream.buffer.end(), digest.value()});
    contents.has_fin = true;
    stream.fin = FinState::Sent;
  }
  if (chunk) {
    stream.buffer.take(*chunk, frames.data(chunk->offset, chunk->size));
    rate_limit.on_sent(chunk->size, now);
    contents.offset = chunk->offset;
    contents.length = chunk->size;
    if (chunk->is_new) {
      path.disarm_tail();
    } else {
      counters.resent_bytes += chunk->size;
    }
  }
  if (!chunk && !fin) frames.ping();
  const bool last = !stream.buffer.next_chunk(1, peer_limit);
  contents.ack_me = probe || last || path.wants_ack();
  SenderLane& lane = path.lanes.current();
  path.lanes.on_sent();
  return finish_packet(path, lane, out, frames.size(), contents, last, now);
}

Transmit Sender::Impl::finish_packet(SenderPath& path, SenderLane& lane, ByteSpan out, std::size_t plain_size,
                                     SenderPath::Contents contents, bool end_of_burst, Instant now) {
  const std::uint64_t updates = lane.sealer.updates();
  PacketSealer::Prepared prepared = lane.sealer.prepare(out, plain_size, contents.ack_me, end_of_burst);
  const std::size_t size = prepared.size;
  if (later != nullptr && !path.channel.properties.is_relay) {
    *later = std::move(prepared.seal);
  } else {
    prepared.seal.apply(out.first(size));
  }
  counters.key_updates += lane.sealer.updates() - updates;
  path.on_sent(lane, contents, size, now);
  ++counters.packets_sent;
  counters.bytes_on_wire_sent += size;
  return {lane.id, size};
}

bool Sender::Impl::waits_for_peer() const {
  return window_closed() || stream.fin == FinState::Acked;
}

/// What is in flight stays in the buffer until it is acknowledged: it must hold more than the path does.
void Sender::Impl::tune_buffer() {
  if (preferred == nullptr || stream.fin != FinState::Unwritten) return;
  const std::size_t capacity = stream.buffer.capacity();
  const std::uint64_t window = preferred->controller().window_bytes();
  // Nearly full of what is in flight, and the window allows more than that.
  const bool is_short = stream.buffer.unacked() > capacity / 4 * 3 && window > capacity / 4 * 3;
  if (is_short)  // not doubled: a fast source fills all there is
    stream.buffer.grow(std::min<std::size_t>(capacity / 2 * 3, config.most_send_buffer));
}

/// Nothing may be sent now, and the window is not the reason.
void Sender::Impl::when_idle(Instant now) {
  const bool waits_for_writer = stream.fin == FinState::Unwritten && !stream.buffer.has_new();
  // The writer has no room because of what is under way: that says nothing about how fast it is.
  const bool is_full = waits_for_writer && stream.buffer.writable() < stream.buffer.least_room();
  if (window_closed())
    held_by = HeldBy::Receiver;
  else if (waits_for_writer && !is_full)
    held_by = HeldBy::Source;
  if (!is_full) preferred->on_app_limited(now);
  const bool all_sent = stream.fin != FinState::Unwritten && !stream.buffer.has_new();
  // A closed window is no end: what was sent before it will be acknowledged in its time.
  if (!stream.buffer.has_new()) preferred->arm_tail(all_sent);
  if (waits_for_peer() && preferred->bytes_in_flight() == 0 && !idle_probe_at) {
    const Duration pause = preferred->channel.rtt.pto_after(idle_probes);
    idle_probe_at = now + (stream.fin == FinState::Acked ? std::max<Duration>(pause, kIdleProbe) : pause);
  }
}

}  // namespace dh::bulk
