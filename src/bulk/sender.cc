#include "bulk/sender.hh"

#include "bulk/sender_impl.hh"

namespace dh::bulk {

using wire::BulkFrameReader;
using wire::BulkHeader;
using wire::FrameType;

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

void Sender::add_lane(PathId id, PathId lane) {
  Impl& s = *impl_;
  SenderPath* path = s.find(id);
  if (path == nullptr) return;
  CHECK(lane < kMaxPaths && (s.used_ids >> lane & 1) == 0 && path->lanes.size() < kMaxLanes);
  s.used_ids |= std::uint64_t{1} << lane;
  path->lanes.add(s.config, lane);
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

void Sender::set_peer_capacity(PathId id, std::uint64_t bytes) {
  if (SenderPath* path = impl_->find(id)) path->set_peer_capacity(bytes);
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
  if (!s.is_writable()) return 0;
  const std::size_t accepted = s.stream.buffer.write(data);
  s.digest.update(data.first(accepted));
  return accepted;
}

std::size_t Sender::writable() const {
  return impl_->is_writable() ? impl_->stream.buffer.writable() : 0;
}

ByteSpan Sender::room() {
  Impl& s = *impl_;
  if (!s.is_writable() || s.preferred == nullptr) return {};
  SendBuffer& buffer = s.stream.buffer;
  const std::size_t ahead = kPacketsAhead * s.preferred->channel.properties.datagram_bytes;
  const auto waiting = static_cast<std::size_t>(buffer.end() - buffer.next_offset());
  if (waiting > ahead / 2 || buffer.writable() < buffer.least_room()) return {};
  const ByteSpan room = buffer.room();
  return room.first(std::min(room.size(), ahead - waiting));
}

void Sender::commit(std::size_t size) {
  Impl& s = *impl_;
  CHECK(s.is_writable());
  s.digest.update(s.stream.buffer.commit(size));
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
  switch (path->opener.unseal(*header, datagram, old_key_life, now, plain)) {
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
  path.acks.on_packet(header.packet_number, eliciting, header.ack_me, path.channel.rtt.smoothed(), now);
}

void Sender::Impl::on_ack(const wire::AckFrame& frame, Instant now) {
  ++counters.acks_received;
  abort.on_ack(frame.path, frame.largest());
  if (frame.receive_limit > peer_limit) {
    peer_limit = frame.receive_limit;
    idle_probes = 0;
    idle_probe_at.reset();
  }
  SenderPath* about = nullptr;
  SenderLane* lane = nullptr;
  for (auto it = paths.begin(); lane == nullptr && it != paths.end(); ++it) {
    about = it->get();
    lane = about->lanes.find(frame.path);
  }
  if (lane == nullptr) return;  // of a path that is gone; its data was put back long ago
  switch (about->on_ack(*lane, frame, now)) {
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
    if (path->usable || s.preferred != nullptr) next = earlier(next, path->acks.due());
    next = earlier(next, path->next_timeout());
  }
  return earlier(earlier(next, s.wake_at()), s.idle_probe_at);
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
