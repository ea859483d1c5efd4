#include "bulk/sender.hh"

#include <vector>

#include "bulk/notice.hh"
#include "bulk/rate_limit.hh"
#include "bulk/sender_path.hh"
#include "bulk/stream_digest.hh"

namespace dh::bulk {

using wire::BulkFrameReader;
using wire::BulkHeader;
using wire::FrameType;
using wire::FrameWriter;

struct Sender::Impl {
  Impl(const StreamConfig& given, Instant now, Rng& rng)
      : config(given),
        stream(given.send_buffer),
        seed(given.controller == Controller::Bbr ? rng.u64() : 0),
        peer_limit(given.receive_window),
        rate_limit(given.rate_limit),
        progress_at(now) {}

  // Paths.
  SenderPath* find(PathId id) {
    for (auto& path : paths)
      if (path->channel.id == id) return path.get();
    return nullptr;
  }
  std::uint64_t live() const {
    std::uint64_t mask = 0;
    for (const auto& path : paths)
      if (path->usable) mask |= std::uint64_t{1} << path->channel.id;
    return mask;
  }
  Duration longest_pto() const {
    Duration pto = kTimerGranularity;
    for (const auto& path : paths)
      if (path->usable) pto = std::max(pto, path->channel.rtt.pto());
    return pto;
  }
  void prefer(SenderPath* path, Instant now);

  // Inputs.
  void on_frames(SenderPath& path, ByteView plain, const BulkHeader& header, Instant now);
  void on_ack(const wire::AckFrame& frame, Instant now);
  void on_complete(SenderPath& path, const wire::CompleteFrame& frame, Instant now);
  void fail(AbortCode code, std::string reason, Instant now);
  void protocol_error(std::string reason, Instant now) {
    fail(AbortCode::ProtocolError, std::move(reason), now);
  }
  void end();

  // Outputs.
  std::optional<Transmit> send_control(ByteSpan out, Instant now);
  std::optional<Transmit> send_stream(ByteSpan out, Instant now);
  Transmit finish_packet(SenderPath& path, ByteSpan out, std::size_t plain_size,
                         SenderPath::Contents contents, bool end_of_burst, Instant now);
  void when_idle(Instant now);
  bool waits_for_peer() const;
  void tune_buffer();
  std::uint64_t in_flight() const {
    std::uint64_t bytes = 0;
    for (const auto& path : paths) bytes += path->bytes_in_flight();
    return bytes;
  }
  bool outstanding() const {
    return abort.state() == AbortExchange::State::Telling ||
           (abort.running() && !complete && (stream.buffer.has_lost() || in_flight() > 0));
  }

  StreamConfig config;
  OutgoingStream stream;
  StreamDigest digest;
  std::vector<std::unique_ptr<SenderPath>> paths;
  SenderPath* preferred = nullptr;
  std::uint64_t used_ids = 0;
  std::uint64_t seed;  // of what controllers leave to chance
  std::uint64_t peer_limit;
  RateLimit rate_limit;
  AbortExchange abort;
  bool complete = false;  // the receiver has confirmed everything; only repeated COMPLETEs are still answered
  std::uint64_t complete_ack_paths = 0;  // paths on which a COMPLETE waits for its answer
  std::vector<StreamEvent> events;       // at most one abort or one complete
  StreamCounters counters;
  Instant progress_at;  // last new ack, or when something became outstanding
  bool was_outstanding = false;
  bool paced = false;    // the last poll stopped at the pacer
  bool limited = false;  // ... or at the rate limit
  std::optional<Instant> idle_probe_at;
  unsigned idle_probes = 0;  // in a row
};

Sender::Sender(const StreamConfig& config, Instant now, Rng& rng)
    : impl_(std::make_unique<Impl>(config, now, rng)) {}
Sender::~Sender() = default;

void Sender::add_path(PathId id, const PathProperties& properties, Instant now) {
  Impl& s = *impl_;
  CHECK(id < kMaxPaths && (s.used_ids >> id & 1) == 0);  // a second life would repeat nonces
  s.used_ids |= std::uint64_t{1} << id;
  s.paths.push_back(
      std::make_unique<SenderPath>(s.config, id, properties, s.stream, s.counters, s.seed + id));
  if (s.preferred == nullptr) s.prefer(s.paths.back().get(), now);
}

void Sender::remove_path(PathId id, Instant now) {
  Impl& s = *impl_;
  SenderPath* path = s.find(id);
  if (path == nullptr) return;
  path->abandon();
  if (s.preferred == path) s.preferred = nullptr;
  std::erase_if(s.paths, [path](const auto& p) { return p.get() == path; });
  if (s.preferred == nullptr && !s.paths.empty()) s.prefer(s.paths.front().get(), now);
}

void Sender::prefer_path(PathId id, Instant now) {
  if (SenderPath* path = impl_->find(id); path != nullptr && path->usable) impl_->prefer(path, now);
}

void Sender::set_path_usable(PathId id, bool usable, Duration initial_rtt, Instant now) {
  Impl& s = *impl_;
  SenderPath* path = s.find(id);
  if (path == nullptr) return;
  path->usable = usable;
  if (usable) {
    path->restart(initial_rtt);
    if (s.preferred == nullptr) s.prefer(path, now);
    return;
  }
  path->abandon();
  if (s.preferred != path) return;
  s.preferred = nullptr;
  for (const auto& other : s.paths)
    if (other->usable) return s.prefer(other.get(), now);
}

void Sender::set_datagram_bytes(PathId id, std::size_t bytes) {
  if (SenderPath* path = impl_->find(id)) path->set_datagram_bytes(bytes);
}

std::size_t Sender::datagram_bytes(PathId id) const {
  const SenderPath* path = impl_->find(id);
  return path == nullptr ? 0 : path->channel.properties.datagram_bytes;
}

std::uint64_t Sender::black_holes(PathId id) const {
  const SenderPath* path = impl_->find(id);
  return path == nullptr ? 0 : path->black_holes();
}

void Sender::Impl::prefer(SenderPath* path, Instant now) {
  if (preferred == path) return;
  if (preferred != nullptr) {
    preferred->disarm_tail();
    preferred->start_handover(now);
  }
  preferred = path;
  preferred->stop_handover();
  idle_probe_at.reset();
}

std::size_t Sender::write(ByteView data) {
  Impl& s = *impl_;
  if (!s.abort.running() || s.complete || s.stream.fin != FinState::Unwritten) return 0;
  const std::size_t accepted = s.stream.buffer.write(data);
  s.digest.update(data.first(accepted));
  return accepted;
}

std::size_t Sender::writable() const {
  const Impl& s = *impl_;
  if (!s.abort.running() || s.complete || s.stream.fin != FinState::Unwritten) return 0;
  return s.stream.buffer.writable();
}

void Sender::finish() {
  if (impl_->stream.fin == FinState::Unwritten) impl_->stream.fin = FinState::Pending;
}

void Sender::abort(AbortCode code, std::string reason, Instant now) {
  impl_->fail(code, std::move(reason), now);
}

void Sender::Impl::fail(AbortCode code, std::string reason, Instant now) {
  if (!abort.running() || complete) return;
  events.emplace_back(abort.start(code, std::move(reason), now));
  end();
}

/// Nothing of the stream will be sent any more.
void Sender::Impl::end() {
  for (auto& path : paths) path->abandon();
  idle_probe_at.reset();
  paced = limited = false;
}

bool Sender::on_datagram(PathId id, ByteSpan datagram, Instant now) {
  Impl& s = *impl_;
  const auto header = BulkHeader::parse(datagram);
  SenderPath* path = header && header->path == id ? s.find(id) : nullptr;
  if (path == nullptr) return false;
  ByteSpan plain;
  const Duration old_key_life = kOldKeyPtos * path->channel.rtt.pto();
  switch (path->channel.opener.unseal(*header, datagram, old_key_life, now, plain)) {
    case PacketOpener::Result::Opened:
      break;
    case PacketOpener::Result::Forged:
      if (++s.counters.forged >= kMaxForgedPackets) s.protocol_error("too many forged packets", now);
      return false;
    case PacketOpener::Result::Repeated:
      ++s.counters.replayed;
      return false;
    case PacketOpener::Result::TooOld:
      ++s.counters.old_packets;
      return false;
  }
  ++s.counters.packets_received;
  s.counters.bytes_on_wire_received += datagram.size();
  s.on_frames(*path, plain, *header, now);
  return true;
}

void Sender::Impl::on_frames(SenderPath& path, ByteView plain, const BulkHeader& header, Instant now) {
  BulkFrameReader frames(plain);
  bool eliciting = false;
  while (const auto type = frames.next()) {
    switch (*type) {
      case FrameType::Padding:
        break;
      case FrameType::Ping:
        eliciting = true;
        break;
      case FrameType::Ack:
        on_ack(frames.ack(), now);
        break;
      case FrameType::Complete:
        eliciting = true;
        on_complete(path, frames.complete(), now);
        break;
      case FrameType::Abort:
        eliciting = true;
        if (complete) break;
        if (auto event = abort.on_abort(frames.abort())) {
          events.emplace_back(std::move(*event));
          end();
        }
        break;
      case FrameType::Data:
      case FrameType::Fin:
      case FrameType::CompleteAck:
        protocol_error("a frame only a sender sends", now);
        break;
    }
  }
  if (frames.error()) protocol_error("malformed frame", now);
  path.channel.acks.on_packet(header.packet_number, eliciting, header.ack_me, path.channel.rtt.smoothed(),
                              now);
}

void Sender::Impl::on_ack(const wire::AckFrame& frame, Instant now) {
  ++counters.acks_received;
  abort.on_ack(frame.path, frame.largest());
  if (frame.receive_limit > peer_limit) {
    peer_limit = frame.receive_limit;
    idle_probes = 0;
    idle_probe_at.reset();
  }
  SenderPath* about = find(frame.path);
  if (about == nullptr) return;  // of a path that is gone; its data was put back long ago
  switch (about->on_ack(frame, now)) {
    case SenderPath::AckResult::Nothing:
      break;
    case SenderPath::AckResult::Progress:
      progress_at = now;
      counters.stream_bytes = stream.buffer.confirmed();
      tune_buffer();
      break;
    case SenderPath::AckResult::NeverSent:
      protocol_error("acknowledged a packet that was never sent", now);
      break;
  }
}

void Sender::Impl::on_complete(SenderPath& path, const wire::CompleteFrame& frame, Instant now) {
  if (!abort.running()) return;
  const bool all_sent =
      stream.fin == FinState::Sent || stream.fin == FinState::Acked || stream.fin == FinState::Pending;
  if (!all_sent || frame.bytes != stream.buffer.end() || stream.buffer.has_new()) {
    protocol_error("completed what was not finished", now);
    return;
  }
  complete_ack_paths |= std::uint64_t{1} << path.channel.id;
  if (complete) return;
  complete = true;
  stream.buffer.on_all_acked();
  stream.fin = FinState::Acked;
  counters.stream_bytes = stream.buffer.confirmed();
  progress_at = now;
  events.emplace_back(StreamComplete{frame.bytes});
  end();
}

void Sender::on_timeout(Instant now) {
  Impl& s = *impl_;
  for (auto& path : s.paths) path->on_timeout(path.get() == s.preferred, now);
  if (is_due(s.idle_probe_at, now)) {
    s.idle_probe_at.reset();
    ++s.idle_probes;
    if (s.preferred != nullptr) s.preferred->request_probe();
  }
}

std::optional<Transmit> Sender::poll_transmit(ByteSpan out, Instant now) {
  Impl& s = *impl_;
  s.paced = s.limited = false;
  std::optional<Transmit> sent = s.send_control(out, now);
  if (!sent && s.abort.running() && !s.complete) sent = s.send_stream(out, now);
  const bool outstanding = s.outstanding();
  if (outstanding && !s.was_outstanding) s.progress_at = now;
  s.was_outstanding = outstanding;
  return sent;
}

std::optional<Transmit> Sender::Impl::send_control(ByteSpan out, Instant now) {
  if (const auto id = abort.next_path(live(), longest_pto(), now)) {
    SenderPath& path = *find(*id);
    FrameWriter frames(path.channel.plain_part(out));
    frames.abort(static_cast<std::uint16_t>(abort.code()), abort.reason());
    abort.notice().on_sent(*id, path.channel.sealer.next_number());
    return finish_packet(path, out, frames.size(), {.ack_me = true}, true, now);
  }
  for (auto& path : paths) {
    const std::uint64_t bit = std::uint64_t{1} << path->channel.id;
    const bool answers_complete = (complete_ack_paths & bit) != 0;
    if (!answers_complete && !path->channel.acks.is_due(now)) continue;
    SenderPath* via = path->usable ? path.get() : preferred;
    if (via == nullptr) continue;
    FrameWriter frames(via->channel.plain_part(out));
    if (abort.state() == AbortExchange::State::Telling)  // so that any ack of it proves the peer knows
      frames.abort(static_cast<std::uint16_t>(abort.code()), abort.reason());
    if (answers_complete) frames.complete_ack();
    if (path->channel.acks.has_packets()) {
      wire::AckFrame ack;
      ack.path = path->channel.id;
      path->channel.acks.take(ack, now);
      frames.ack(ack);
      ++counters.acks_sent;
    }
    complete_ack_paths &= ~bit;
    return finish_packet(*via, out, frames.size(), {}, false, now);
  }
  return std::nullopt;
}

std::optional<Transmit> Sender::Impl::send_stream(ByteSpan out, Instant now) {
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
  return finish_packet(path, out, frames.size(), contents, last, now);
}

Transmit Sender::Impl::finish_packet(SenderPath& path, ByteSpan out, std::size_t plain_size,
                                     SenderPath::Contents contents, bool end_of_burst, Instant now) {
  const std::uint64_t updates = path.channel.sealer.updates();
  const std::size_t size = path.channel.sealer.seal(out, plain_size, contents.ack_me, end_of_burst);
  counters.key_updates += path.channel.sealer.updates() - updates;
  path.on_sent(contents, size, now);
  ++counters.packets_sent;
  counters.bytes_on_wire_sent += size;
  return {path.channel.id, size};
}

bool Sender::Impl::waits_for_peer() const {
  const bool closed_window = stream.buffer.has_new() && stream.buffer.next_offset() >= peer_limit;
  return closed_window || stream.fin == FinState::Acked;
}

/// What is in flight stays in the buffer until it is acknowledged: it must hold more than the path does.
void Sender::Impl::tune_buffer() {
  if (preferred == nullptr || stream.fin != FinState::Unwritten) return;
  const std::size_t capacity = stream.buffer.capacity();
  const std::uint64_t window = preferred->controller().window_bytes();
  // Nearly full of what is in flight, and the window allows more than that.
  const bool is_short =
      stream.buffer.next_offset() - stream.buffer.confirmed() > capacity / 4 * 3 && window > capacity / 4 * 3;
  if (is_short && capacity < config.most_send_buffer)
    stream.buffer.grow(std::min<std::size_t>(2 * capacity, config.most_send_buffer));
}

/// Nothing may be sent now, and the window is not the reason.
void Sender::Impl::when_idle(Instant now) {
  preferred->on_app_limited(now);
  const bool all_sent = stream.fin != FinState::Unwritten && !stream.buffer.has_new();
  // A closed window is no end: what was sent before it will be acknowledged in its time.
  if (!stream.buffer.has_new()) preferred->arm_tail(all_sent);
  if (waits_for_peer() && preferred->bytes_in_flight() == 0 && !idle_probe_at) {
    const Duration pause = preferred->channel.rtt.pto_after(idle_probes);
    idle_probe_at = now + (stream.fin == FinState::Acked ? std::max<Duration>(pause, kIdleProbe) : pause);
  }
}

bool Sender::abort_settled() const {
  return impl_->abort.state() == AbortExchange::State::Over;
}

std::optional<StreamEvent> Sender::poll_event() {
  Impl& s = *impl_;
  if (s.events.empty()) return std::nullopt;
  StreamEvent event = std::move(s.events.front());
  s.events.erase(s.events.begin());
  return event;
}

std::optional<Instant> Sender::next_timeout() const {
  const Impl& s = *impl_;
  std::optional<Instant> next = s.abort.notice().due();
  for (const auto& path : s.paths) {
    if (path->usable || s.preferred != nullptr) next = earlier(next, path->channel.acks.due());
    next = earlier(next, path->next_timeout());
  }
  if (s.paced && s.preferred != nullptr) next = earlier(next, s.preferred->pacer_wake());
  if (s.limited && s.preferred != nullptr) next = earlier(next, s.rate_limit.wake_at());
  return earlier(next, s.idle_probe_at);
}

const StreamCounters& Sender::counters() const {
  return impl_->counters;
}

std::optional<Duration> Sender::smoothed_rtt(PathId id) const {
  const SenderPath* path = impl_->find(id);
  if (path == nullptr || !path->channel.rtt.has_sample()) return std::nullopt;
  return path->channel.rtt.smoothed();
}

std::optional<ControllerReport> Sender::controller_report(PathId id) const {
  const SenderPath* path = impl_->find(id);
  if (path == nullptr) return std::nullopt;
  return path->controller().report();
}

std::uint64_t Sender::bytes_in_flight() const {
  return impl_->in_flight();
}

bool Sender::has_backlog() const {
  if (impl_->limited) return false;
  const SendBuffer& buffer = impl_->stream.buffer;
  return buffer.next_offset() + kBacklogBytes <= std::min(buffer.end(), impl_->peer_limit);
}

Sender::PathFigures Sender::figures(PathId id) const {
  const SenderPath* path = impl_->find(id);
  return path == nullptr ? PathFigures{} : path->figures();
}

std::optional<Instant> Sender::stalls_at(PathId id) const {
  const SenderPath* path = impl_->find(id);
  if (path == nullptr || impl_->complete) return std::nullopt;
  // The receiver may have no direct way yet: the first acks come by a relay.
  Duration detour{};
  for (const auto& other : impl_->paths)
    if (other->channel.properties.is_relay && other->usable)
      detour = std::max(detour, other->channel.rtt.smoothed());
  return path->stalls_at(detour);
}

std::optional<Instant> Sender::silent_since() const {
  if (!impl_->outstanding()) return std::nullopt;
  return impl_->progress_at;
}

}  // namespace dh::bulk
