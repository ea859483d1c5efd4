#include "bulk/receiver.hh"

#include <deque>
#include <utility>
#include <vector>

#include "bulk/ack_tracker.hh"
#include "bulk/notice.hh"
#include "bulk/path_channel.hh"
#include "bulk/path_list.hh"
#include "bulk/reassembly_buffer.hh"
#include "bulk/receive_window.hh"

namespace dh::bulk {

using wire::BulkFrameReader;
using wire::BulkHeader;
using wire::FrameType;
using wire::FrameWriter;

namespace {

/// Where the stream stands, apart from aborts.
///   Receiving --all bytes, digest right--> Ended --confirm()--> Confirming --COMPLETE_ACK or lingered-->
///   Done
enum class State : std::uint8_t {
  Receiving,   // bytes are missing, or the FIN
  Ended,       // all is here; the reader may still be reading
  Confirming,  // COMPLETE is on its way
  Done,        // the sender knows, or had every chance to
};

/// What arrives under keys and numbers of its own (sender_lane.hh).
struct ReceiverLane {
  ReceiverLane(const StreamConfig& config, PathId lane)
      : id(lane), opener(config, Direction::ToReceiver, lane) {}

  const PathId id;
  PacketOpener opener;
  AckTracker acks;
};

struct ReceiverPath {
  ReceiverPath(const StreamConfig& config, PathId id, const PathProperties& properties)
      : channel(id, properties), sealer(config, Direction::ToSender, id) {
    lanes.push_back(std::make_unique<ReceiverLane>(config, id));
  }
  ReceiverLane* lane(PathId id) {
    for (auto& lane : lanes)
      if (lane->id == id) return lane.get();
    return nullptr;
  }

  PathChannel channel;
  PacketSealer sealer;                               // what we send is little: one lane
  std::vector<std::unique_ptr<ReceiverLane>> lanes;  // never empty; references stay valid
  bool usable = true;
  // A PING that rides on an ack now and then: measures the rtt, confirms key updates, and tells that the
  // sender has this ack.
  struct Ping {
    std::uint64_t number;
    Instant at;
    PathId lane;            // which the ack was about ...
    std::uint64_t largest;  // ... and up to where
  };
  std::deque<Ping> pings;  // not answered yet, oldest first, at most kMaxPings
  std::optional<Instant> ping_at;
};

}  // namespace

struct Receiver::Impl : PathList<ReceiverPath> {
  explicit Impl(const StreamConfig& given)
      : config(given),
        buffer(clamp_window(given.receive_window), clamp_window(given.most_receive_window)),
        window(buffer.window(), given.receive_window_shrinks) {}
  static std::size_t clamp_window(std::uint64_t bytes) {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(bytes, 1, kMaxReceiveWindow));
  }

  ReceiverLane* find_lane(PathId id) {
    for (auto& path : paths)
      if (ReceiverLane* lane = path->lane(id)) return lane;
    return nullptr;
  }

  // Inputs.
  void on_frames(ReceiverPath& path, ReceiverLane& lane, ByteView plain, const BulkHeader& header,
                 Instant now);
  bool on_data(ReceiverPath& path, ReceiverLane& lane, const wire::DataFrame& frame, Instant now);
  void on_fin(const wire::FinFrame& frame, Instant now);
  void on_ack(const wire::AckFrame& frame, Instant now);
  void check_end(Instant now);
  void tune_window(Instant now);
  void finish();
  void fail(AbortCode code, std::string reason, Instant now);
  void protocol_error(std::string reason, Instant now) {
    fail(AbortCode::ProtocolError, std::move(reason), now);
  }

  // Outputs.
  std::optional<Transmit> send_ack(ReceiverPath& about, ReceiverLane& lane, ByteSpan out, Instant now);
  Transmit finish_packet(ReceiverPath& path, ByteSpan out, std::size_t plain_size, bool ack_me);

  StreamConfig config;
  ReassemblyBuffer buffer;
  ReceiveWindow window;
  std::uint64_t used_ids = 0;
  std::optional<PathId> last_heard;  // acks go there
  State state = State::Receiving;
  std::optional<wire::FinFrame> fin;
  AbortExchange abort;
  Notice complete;
  bool complete_acked = false;
  std::optional<Instant> linger_until;
  std::vector<StreamEvent> events;  // at most: ended, then complete or aborted
  StreamCounters counters;
};

Receiver::Receiver(const StreamConfig& config, Instant, Rng&) : impl_(std::make_unique<Impl>(config)) {}
Receiver::~Receiver() = default;

void Receiver::add_path(PathId id, const PathProperties& properties, Instant) {
  Impl& r = *impl_;
  CHECK(id < kMaxPaths && (r.used_ids >> id & 1) == 0);  // a second life would repeat nonces
  r.used_ids |= std::uint64_t{1} << id;
  r.paths.push_back(std::make_unique<ReceiverPath>(r.config, id, properties));
}

void Receiver::add_lane(PathId id, PathId lane) {
  Impl& r = *impl_;
  ReceiverPath* path = r.find(id);
  if (path == nullptr) return;
  CHECK(lane < kMaxPaths && (r.used_ids >> lane & 1) == 0 && path->lanes.size() < kMaxLanes);
  r.used_ids |= std::uint64_t{1} << lane;
  path->lanes.push_back(std::make_unique<ReceiverLane>(r.config, lane));
}

void Receiver::remove_path(PathId id, Instant) {
  Impl& r = *impl_;
  std::erase_if(r.paths, [id](const auto& path) { return path->channel.id == id; });
  if (r.last_heard == id) r.last_heard.reset();
}

void Receiver::set_path_usable(PathId id, bool usable) {
  if (ReceiverPath* path = impl_->find(id)) path->usable = usable;
}

ByteView Receiver::readable() const {
  if (!impl_->abort.running()) return {};
  return impl_->buffer.readable();
}

void Receiver::consume(std::size_t size, Instant now) {
  Impl& r = *impl_;
  if (!r.abort.running()) return;
  r.buffer.consume(size);
  r.counters.stream_bytes = r.buffer.consumed();
  r.tune_window(now);
  if (r.state != State::Receiving || r.buffer.next_limit() - r.buffer.limit() < r.buffer.window() / 2) return;
  // If this window update is lost, the sender's probe fetches it again.
  ReceiverPath* path = r.last_heard ? r.find(*r.last_heard) : nullptr;
  if (path == nullptr) return;
  for (const auto& lane : path->lanes)
    if (lane->acks.has_packets()) return lane->acks.demand(now);
}

/// A reader behind a relay never waits for the window: less than the first one is on its way there.
void Receiver::Impl::tune_window(Instant now) {
  const ReceiverPath* path = last_heard ? find(*last_heard) : nullptr;
  if (path == nullptr || path->channel.properties.is_relay || !path->channel.rtt.has_sample()) return;
  window.on_consumed(buffer.consumed(), buffer.behind_gap(), path->channel.rtt.smoothed(), now);
  buffer.set_window(window.bytes());
}

void Receiver::confirm(Instant now) {
  Impl& r = *impl_;
  if (r.state != State::Ended || !r.abort.running()) return;
  r.state = State::Confirming;
  r.complete.start(now);
  r.linger_until = now + kLinger;
}

void Receiver::on_sender_gone(Instant now) {
  if (impl_->linger_until) impl_->linger_until = std::min(*impl_->linger_until, now + kLingerWhenGone);
}

void Receiver::abort(AbortCode code, std::string reason, Instant now) {
  impl_->fail(code, std::move(reason), now);
}

void Receiver::Impl::fail(AbortCode code, std::string reason, Instant now) {
  if (!abort.running() || state == State::Done) return;
  complete.stop();
  linger_until.reset();
  std::erase_if(events, [](const StreamEvent& event) { return std::holds_alternative<StreamEnded>(event); });
  events.emplace_back(abort.start(code, std::move(reason), now));
}

std::uint64_t Receiver::keys_version(PathId id) const {
  const ReceiverLane* lane = impl_->find_lane(id);
  return lane == nullptr ? 0 : lane->opener.keys_version() + 1;
}

std::shared_ptr<AheadOpener> Receiver::ahead_opener(PathId id) const {
  const ReceiverLane* lane = impl_->find_lane(id);
  return lane == nullptr ? nullptr : lane->opener.ahead();
}

bool Receiver::on_datagram(PathId id, ByteSpan datagram, Instant now, const std::optional<Opened>& ahead) {
  Impl& r = *impl_;
  const auto header = BulkHeader::parse(datagram);
  ReceiverPath* path = r.find(id);
  ReceiverLane* lane = header && path != nullptr ? path->lane(header->path) : nullptr;
  if (lane == nullptr) return false;
  ByteSpan plain;
  const Duration old_key_life = kOldKeyPtos * path->channel.rtt.pto();
  switch (lane->opener.unseal(*header, datagram, old_key_life, now, plain, ahead)) {
    case PacketOpener::Result::Opened:
      break;
    case PacketOpener::Result::Forged:
      if (++r.counters.forged >= kMaxForgedPackets) r.protocol_error("too many forged packets", now);
      return false;
    case PacketOpener::Result::Repeated:
      ++r.counters.replayed;
      return false;
    case PacketOpener::Result::TooOld:
      ++r.counters.old_packets;
      return false;
  }
  ++r.counters.packets_received;
  r.counters.bytes_on_wire_received += datagram.size();
  r.last_heard = id;
  r.on_frames(*path, *lane, plain, *header, now);
  return true;
}

void Receiver::Impl::on_frames(ReceiverPath& path, ReceiverLane& lane, ByteView plain,
                               const BulkHeader& header, Instant now) {
  BulkFrameReader frames(plain);
  bool eliciting = false;
  bool arrived = true;  // false: pretend the packet was lost
  while (const auto type = frames.next()) {
    switch (*type) {
      case FrameType::Padding:
        break;
      case FrameType::Ping:
        eliciting = true;
        // Who still asks has not seen our COMPLETE.
        if ((state == State::Confirming || state == State::Done) && !complete_acked)
          complete.repeat_on(path.channel.id);
        break;
      case FrameType::Data:
        eliciting = true;
        arrived = on_data(path, lane, frames.data(), now);
        break;
      case FrameType::Fin:
        eliciting = true;
        on_fin(frames.fin(), now);
        break;
      case FrameType::Ack:
        on_ack(frames.ack(), now);
        break;
      case FrameType::CompleteAck:
        if (state == State::Confirming || state == State::Done) {
          complete_acked = true;
          finish();
        } else {
          protocol_error("answered a COMPLETE that was never sent", now);
        }
        break;
      case FrameType::Abort:
        eliciting = true;
        if (state == State::Done) break;
        if (auto event = abort.on_abort(frames.abort())) {
          complete.stop();
          linger_until.reset();
          std::erase_if(events, [](const StreamEvent& e) { return std::holds_alternative<StreamEnded>(e); });
          events.emplace_back(std::move(*event));
        }
        break;
      case FrameType::Complete:
        protocol_error("a frame only a receiver sends", now);
        break;
    }
  }
  if (frames.error()) protocol_error("malformed frame", now);
  if (arrived)
    lane.acks.on_packet(header.packet_number, eliciting, header.ack_me, path.channel.rtt.smoothed(), now);
  check_end(now);
}

/// False: there was no room to remember it.
bool Receiver::Impl::on_data(ReceiverPath& path, ReceiverLane& lane, const wire::DataFrame& frame,
                             Instant now) {
  if (!abort.running()) {
    // The sender does not know yet: once we had given up telling it, tell it again.
    if (abort.ours()) abort.notice().repeat_on(path.channel.id);
    return true;
  }
  const std::uint64_t end = frame.offset + frame.bytes.size();
  if (fin && end > fin->final_size) {
    protocol_error("data beyond the final size", now);
    return true;
  }
  switch (buffer.insert(frame.offset, frame.bytes)) {
    case ReassemblyBuffer::Outcome::New:
      break;
    case ReassemblyBuffer::Outcome::Duplicate:
      ++counters.duplicates;
      lane.acks.on_duplicate_data();
      break;
    case ReassemblyBuffer::Outcome::TooFar:
      protocol_error("data beyond the receive limit", now);
      break;
    case ReassemblyBuffer::Outcome::TooManyGaps:
      return false;
  }
  return true;
}

void Receiver::Impl::on_fin(const wire::FinFrame& frame, Instant now) {
  if (!abort.running()) return;
  if (fin) {
    if (*fin != frame) protocol_error("the final size or digest changed", now);
    return;
  }
  if (frame.final_size < buffer.highest()) {
    protocol_error("the final size is below what was sent", now);
    return;
  }
  fin = frame;
}

void Receiver::Impl::check_end(Instant now) {
  if (state != State::Receiving || !abort.running() || !fin || buffer.arrived() != fin->final_size) return;
  if (buffer.digest() != fin->digest) {
    fail(AbortCode::DigestMismatch, "the digest of what arrived differs from the sender's", now);
    return;
  }
  state = State::Ended;
  events.emplace_back(StreamEnded{fin->final_size});
}

void Receiver::Impl::on_ack(const wire::AckFrame& frame, Instant now) {
  ++counters.acks_received;
  abort.on_ack(frame.path, frame.largest());
  ReceiverPath* about = find(frame.path);
  if (about == nullptr) return;
  if (frame.largest() >= about->sealer.next_number()) {
    protocol_error("acknowledged a packet that was never sent", now);
    return;
  }
  about->sealer.on_acked(frame.largest());
  const wire::PacketRange& newest = frame.ranges[0];
  for (; !about->pings.empty() && about->pings.front().number <= newest.last; about->pings.pop_front()) {
    const ReceiverPath::Ping& ping = about->pings.front();
    if (ping.number < newest.first) continue;  // lost, or in front of a packet that is: not worth a search
    if (ping.number == newest.last)
      about->channel.rtt.update(now - ping.at, std::chrono::microseconds(frame.delay_us), now);
    if (ReceiverLane* lane = find_lane(ping.lane)) lane->acks.on_ack_acked(ping.largest);
  }
}

/// The sender knows, or had every chance to.
void Receiver::Impl::finish() {
  if (state != State::Confirming) {
    if (complete_acked) complete.stop();
    return;
  }
  state = State::Done;
  complete.stop();
  linger_until.reset();
  events.emplace_back(StreamComplete{fin->final_size});
}

void Receiver::on_timeout(Instant now) {
  if (is_due(impl_->linger_until, now)) impl_->finish();
}

std::optional<Transmit> Receiver::poll_transmit(ByteSpan out, Instant now) {
  Impl& r = *impl_;
  if (const auto id = r.abort.next_path(r.live(), r.longest_pto(), now)) {
    ReceiverPath& path = *r.find(*id);
    FrameWriter frames(path.channel.plain_part(out));
    frames.abort(static_cast<std::uint16_t>(r.abort.code()), r.abort.reason());
    r.abort.notice().on_sent(*id, path.sealer.next_number());
    return r.finish_packet(path, out, frames.size(), true);
  }
  if (r.abort.running()) {
    if (const auto id = r.complete.next_path(r.live(), r.longest_pto(), now)) {
      ReceiverPath& path = *r.find(*id);
      FrameWriter frames(path.channel.plain_part(out));
      frames.complete({r.fin->final_size});
      r.complete.on_sent(*id, path.sealer.next_number());
      return r.finish_packet(path, out, frames.size(), true);
    }
  }
  for (auto& path : r.paths)
    for (auto& lane : path->lanes)
      if (lane->acks.is_due(now))
        if (const auto sent = r.send_ack(*path, *lane, out, now)) return sent;
  return std::nullopt;
}

std::optional<Transmit> Receiver::Impl::send_ack(ReceiverPath& about, ReceiverLane& lane, ByteSpan out,
                                                 Instant now) {
  ReceiverPath* via = last_heard ? find(*last_heard) : nullptr;
  if (via == nullptr || !via->usable) via = &about;
  for (auto it = paths.begin(); !via->usable && it != paths.end(); ++it) via = it->get();
  if (!via->usable) return std::nullopt;
  FrameWriter frames(via->channel.plain_part(out));
  if (abort.state() == AbortExchange::State::Telling)  // so that any ack of it proves the peer knows
    frames.abort(static_cast<std::uint16_t>(abort.code()), abort.reason());
  // Before the first is answered there may be more: where most acks are lost, one of them arrives.
  Duration ping_pause = kPingInterval;
  if (via->sealer.wants_confirmation() || lane.acks.range_count() > kFewAckRanges)
    ping_pause = std::max<Duration>(via->channel.rtt.pto(), kMinPingInterval);
  const bool ping = abort.running() && (!via->ping_at || now - *via->ping_at >= ping_pause);
  wire::AckFrame ack;
  ack.path = lane.id;
  ack.receive_limit = buffer.advertise();
  lane.acks.take(ack, now);
  if (ping) {
    frames.ping();
    via->ping_at = now;
    if (via->pings.size() == kMaxPings) via->pings.pop_front();
    via->pings.push_back({via->sealer.next_number(), now, lane.id, ack.largest()});
  }
  frames.ack(ack);
  ++counters.acks_sent;
  return finish_packet(*via, out, frames.size(), ping);
}

Transmit Receiver::Impl::finish_packet(ReceiverPath& path, ByteSpan out, std::size_t plain_size,
                                       bool ack_me) {
  const std::uint64_t updates = path.sealer.updates();
  const std::size_t size = path.sealer.seal(out, plain_size, ack_me, false);
  counters.key_updates += path.sealer.updates() - updates;
  ++counters.packets_sent;
  counters.bytes_on_wire_sent += size;
  return {path.channel.id, size};
}

bool Receiver::abort_settled() const {
  return impl_->abort.state() == AbortExchange::State::Over;
}

std::optional<StreamEvent> Receiver::poll_event() {
  Impl& r = *impl_;
  if (r.events.empty()) return std::nullopt;
  StreamEvent event = std::move(r.events.front());
  r.events.erase(r.events.begin());
  return event;
}

std::optional<Instant> Receiver::next_timeout() const {
  const Impl& r = *impl_;
  std::optional<Instant> next = earlier(r.abort.notice().due(), r.complete.due());
  if (r.live() != 0)  // else acks wait for a path
    for (const auto& path : r.paths)
      for (const auto& lane : path->lanes) next = earlier(next, lane->acks.due());
  return earlier(next, r.linger_until);
}

const StreamCounters& Receiver::counters() const {
  return impl_->counters;
}
std::size_t Receiver::buffered_bytes() const {
  return impl_->buffer.buffered_bytes();
}

}  // namespace dh::bulk
