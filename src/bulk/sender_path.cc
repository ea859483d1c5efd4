#include "bulk/sender_path.hh"

#include <algorithm>
#include <utility>
#include <vector>

#include "bulk/bbr.hh"
#include "bulk/cubic.hh"
#include "bulk/ledbat.hh"

namespace dh::bulk {

SenderPath::SenderPath(const StreamConfig& config, PathId id, const PathProperties& properties,
                       OutgoingStream& stream, StreamCounters& counters, std::uint64_t seed)
    : channel(id, properties),
      lanes(config, id),
      opener(config, Direction::ToSender, id),
      stream_(stream),
      counters_(counters),
      kind_(channel.properties.is_relay && config.controller != Controller::Ledbat ? Controller::Cubic
                                                                                   : config.controller),
      bbr_(config.bbr),
      seed_(seed),
      controller_(make_controller()),
      pacer_(make_pacer()) {}

std::unique_ptr<CongestionController> SenderPath::make_controller() const {
  ControllerConfig controller;
  controller.datagram_bytes = channel.properties.datagram_bytes;
  controller.initial_packets = channel.properties.is_relay ? kRelayInitialPackets : kInitialWindowPackets;
  controller.initial_rtt = channel.rtt.smoothed();
  controller.seed = seed_;
  switch (kind_) {
    case Controller::Cubic:
      return std::make_unique<Cubic>(controller);
    case Controller::Bbr:
      return std::make_unique<Bbr>(controller, bbr_);
    case Controller::Ledbat:
      return std::make_unique<Ledbat>(controller);
  }
  return nullptr;
}

Pacer SenderPath::make_pacer() const {
  Pacer pacer(kind_ == Controller::Bbr && !bbr_.pacing_credit ? kPacingQuantum : kMaxPacingCredit);
  pacer.limit_burst(peer_capacity_ / kBurstShare);
  return pacer;
}

void SenderPath::set_peer_capacity(std::uint64_t bytes) {
  peer_capacity_ = bytes;
  pacer_.limit_burst(peer_capacity_ / kBurstShare);
}

void SenderPath::restart(Duration initial_rtt) {
  abandon();
  channel.rtt = RttEstimator(initial_rtt);
  controller_ = make_controller();
  relay_window_ = {};
  proven_ = false;
  pacer_ = make_pacer();
  for (const auto& lane : lanes) {
    lane->loss = {};
    lane->since_ack_me = 0;
  }
  last_rate_ = 0;
  window_limited_ = window_full_ = held_back_ = hole_checked_ = false;
  large_from_ = next_sequence_;
  large_lost_ = 0;
}

Sender::PathFigures SenderPath::figures() const {
  const double window = channel.properties.is_relay
                            ? static_cast<double>(relay_window_.packets() * channel.properties.datagram_bytes)
                            : static_cast<double>(controller_->window_bytes());
  return {.delivered_bytes = sampler_.delivered(),
          .packets_sent = next_sequence_,
          .packets_lost = lost_packets_,
          .window_rate = window / to_seconds(channel.rtt.smoothed())};
}

std::optional<Instant> SenderPath::stalls_at(Duration detour) const {
  if (packets_in_flight_ == 0) return std::nullopt;
  if (!proven_ && !channel.properties.is_relay)
    return progress_at_ +
           std::max<Duration>(kFirstStallRtts * channel.rtt.smoothed() + detour, kMinFirstStall);
  return progress_at_ + std::max<Duration>(kStallPtos * channel.rtt.pto(), kMinStall);
}

SenderPath::Room SenderPath::room(Instant now) {
  const std::uint64_t next = channel.properties.datagram_bytes;
  if (in_flight_ > 0 && in_flight_ + next > controller_->window_bytes()) {
    window_limited_ = window_full_ = held_back_ = true;
    return Room::WindowFull;
  }
  if (lanes.current().packets.size() >= kMaxSentPackets) return Room::WindowFull;
  // CUBIC goes by its window: what that held back may leave in a burst, as long as the credit lasts.
  if (std::exchange(held_back_, false) && kind_ == Controller::Bbr) pacer_.on_held_back(now);
  if (channel.properties.is_relay)  // the relay's own queue is the pace
    return packets_in_flight_ < relay_window_.packets() ? Room::Open : Room::WindowFull;
  return pacer_.may_send(now) ? Room::Open : Room::Paced;
}

bool SenderPath::wants_ack() const {
  const std::uint64_t window_packets = controller_->window_bytes() / channel.properties.datagram_bytes;
  const std::uint64_t spacing = window_packets / kAcksPerWindow / lanes.size();
  return lanes.current().since_ack_me + 1 >= std::clamp(spacing, kMinAckSpacing, kAckEveryPackets);
}

void SenderPath::on_sent(SenderLane& lane, const Contents& contents, std::size_t wire_bytes, Instant now) {
  SentPackets& packets = lane.packets;
  while (packets.size() >= kMaxSentPackets) {  // only probes of a long dead path come here
    if (packets[packets.begin()].state == PacketState::Outstanding) put_back(packets[packets.begin()]);
    packets.pop();
  }
  SentPacket& packet = packets.push();
  packet.sent_at = now;
  packet.sequence = next_sequence_++;
  if (!contents.eliciting) return;
  packet.state = PacketState::Outstanding;
  packet.offset = contents.offset;
  packet.length = static_cast<std::uint32_t>(contents.length);
  packet.wire_bytes = static_cast<std::uint32_t>(wire_bytes);
  packet.has_fin = contents.has_fin;
  packet.phase = controller_->phase();
  sampler_.on_sent(packet, in_flight_, now);
  controller_->on_sent(wire_bytes, in_flight_, now);
  if (!channel.properties.is_relay)
    pacer_.on_sent(wire_bytes, controller_->pacing_rate(), channel.rtt.smoothed(), now);
  if (packets_in_flight_ == 0) progress_at_ = now;
  in_flight_ += wire_bytes;
  ++packets_in_flight_;
  last_sent_ = now;
  lane.since_ack_me = contents.ack_me ? 0 : lane.since_ack_me + 1;
  probe_pending_ = false;
}

void SenderPath::on_app_limited(Instant now) {
  window_limited_ = false;
  held_back_ = true;
  if (in_flight_ >= controller_->window_bytes()) return;  // more to send would change nothing
  sampler_.on_app_limited(in_flight_);
  controller_->on_app_limited(in_flight_, now);
}

SenderPath::AckResult SenderPath::on_ack(SenderLane& lane, const wire::AckFrame& frame, Instant now) {
  SentPackets& packets = lane.packets;
  const std::uint64_t largest = frame.largest();
  if (largest >= packets.end()) return AckResult::NeverSent;
  lane.sealer.on_acked(largest);

  Progress progress;
  AckBatch& batch = progress.batch;
  batch.now = now;
  batch.in_flight_before = in_flight_;
  const std::uint64_t old_largest = lane.largest_acked.value_or(0);
  const bool is_newest = !lane.largest_acked || largest > *lane.largest_acked;
  if (is_newest && packets.contains(largest) && packets[largest].state == PacketState::Outstanding) {
    batch.rtt_sample = now - packets[largest].sent_at;
    channel.rtt.update(*batch.rtt_sample, std::chrono::microseconds(frame.delay_us), now);
  }
  for (std::size_t i = frame.range_count; i-- > 0;) {  // oldest first, so that samples come in sending order
    const std::uint64_t first = std::max(frame.ranges[i].first, packets.begin());
    const std::uint64_t end = frame.ranges[i].last + 1;
    if (first >= end) continue;
    lane.acked_numbers.for_each_gap(first, end, [&](std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t number = from; number < to; ++number)
        on_packet_acked(lane, number, old_largest, progress);
    });
    lane.acked_numbers.add(first, end);
  }
  if (is_newest) lane.largest_acked = largest;
  if (!progress.any) return AckResult::Nothing;

  pto_count_ = 0;
  probe_pending_ = hole_checked_ = false;
  proven_ = true;
  progress_at_ = now;
  batch.largest_acked = packets[largest].sequence;
  batch.next_number = next_sequence_;
  batch.smoothed_rtt = channel.rtt.smoothed();
  batch.min_rtt = channel.rtt.min();
  batch.in_flight = in_flight_;
  batch.window_limited = window_limited_;
  batch.window_full = std::exchange(window_full_, false);
  batch.delivered = sampler_.delivered();
  batch.rate = sampler_.take(batch.min_rtt, now);
  if (batch.rate && batch.rate->reliable &&
      !(batch.rate->app_limited && batch.rate->bytes_per_second() < last_rate_))
    last_rate_ = batch.rate->bytes_per_second();
  relay_window_.on_ack(batch.largest_acked, batch.next_number, channel.rtt.latest(), now);
  controller_->on_ack_batch(batch);
  if (controller_->holds_back()) sampler_.on_app_limited(in_flight_);
  detect_losses(lane, now);
  retire(lane, now);
  return AckResult::Progress;
}

void SenderPath::on_packet_acked(SenderLane& lane, std::uint64_t number, std::uint64_t old_largest,
                                 Progress& progress) {
  SentPacket& packet = lane.packets[number];
  if (packet.state == PacketState::Outstanding) {
    in_flight_ -= packet.wire_bytes;
    --packets_in_flight_;
  } else if (packet.state == PacketState::Lost) {
    ++counters_.spurious_losses;
    const std::uint64_t window = controller_->window_bytes() / channel.properties.datagram_bytes;
    lane.loss.on_spurious(number, old_largest, window);
    controller_->on_spurious(packet.sent_at, progress.batch.now);
    ++progress.batch.spurious_by_phase[static_cast<std::size_t>(packet.phase)];
  } else if (packet.state != PacketState::Abandoned) {
    return;
  }
  packet.state = PacketState::Acked;
  if (packet.wire_bytes > kBaseDatagramBytes && packet.sequence >= large_from_) {
    large_from_ = packet.sequence + 1;
    large_lost_ = 0;
  }
  sampler_.on_acked(packet, progress.batch.now);
  stream_.buffer.on_acked(packet.offset, packet.length);
  if (packet.has_fin) stream_.fin = FinState::Acked;
  progress.any = true;
  progress.batch.acked_bytes += packet.wire_bytes;
  ++progress.batch.acked_packets;
  ++progress.batch.acked_by_phase[static_cast<std::size_t>(packet.phase)];
}

void SenderPath::detect_losses(SenderLane& lane, Instant now) {
  if (!lane.largest_acked) return;
  LossBatch batch;
  const bool is_fast = last_rate_ > kFastPathBytesPerSecond;
  counters_.loss_checks += lane.loss.detect(
      lane.packets, *lane.largest_acked, channel.rtt, is_fast, now, [&](const SentPacket& packet) {
        in_flight_ -= packet.wire_bytes;
        --packets_in_flight_;
        put_back(packet);
        if (packet.wire_bytes > kBaseDatagramBytes && packet.sequence >= large_from_) ++large_lost_;
        sampler_.on_lost(packet);
        controller_->on_packet_lost({.number = packet.sequence,
                                     .bytes = packet.wire_bytes,
                                     .sent_at = packet.sent_at,
                                     .in_flight = packet.in_flight,
                                     .lost_since_sent = sampler_.lost() - packet.lost,
                                     .app_limited = packet.app_limited,
                                     .phase = packet.phase});
        ++counters_.packets_lost;
        ++lost_packets_;
        ++batch.lost_packets;
        batch.lost_bytes += packet.wire_bytes;
        batch.newest_sent_at = packet.sent_at;
      });
  if (batch.lost_packets == 0) return;
  batch.now = now;
  batch.in_flight = in_flight_;
  relay_window_.on_loss();
  controller_->on_lost(batch);
  // Only what is older than an acked packet is declared lost, so smaller ones sent later did arrive.
  if (large_lost_ < kBlackHolePackets || !sends_large()) return;
  ++black_holes_;
  set_datagram_bytes(kBaseDatagramBytes);
}

void SenderPath::set_datagram_bytes(std::size_t bytes) {
  if (bytes == channel.properties.datagram_bytes) return;
  channel.set_datagram_bytes(bytes);
  controller_->set_datagram_bytes(channel.properties.datagram_bytes);
  large_from_ = next_sequence_;
  large_lost_ = 0;
  hole_checked_ = false;
}

std::size_t SenderPath::next_datagram_bytes() const {
  return probe_pending_ && sends_large() ? kBaseDatagramBytes : channel.properties.datagram_bytes;
}

/// Large datagrams may have stopped passing, and as long as more of them leave, no probe timeout comes.
std::optional<Instant> SenderPath::hole_check_at() const {
  if (packets_in_flight_ == 0 || probe_pending_ || hole_checked_ || !sends_large()) return std::nullopt;
  return progress_at_ + channel.rtt.pto();
}

void SenderPath::put_back(const SentPacket& packet) {
  stream_.buffer.on_lost(packet.offset, packet.length);
  if (packet.has_fin) stream_.lose_fin();
}

/// Forgets settled packets. Lost ones stay a while, in case their ack still comes.
void SenderPath::retire(SenderLane& lane, Instant now) {
  SentPackets& packets = lane.packets;
  const Duration memory = channel.rtt.pto();
  while (packets.size() > 0) {
    const SentPacket& oldest = packets[packets.begin()];
    if (oldest.state == PacketState::Outstanding) break;
    const bool may_return = oldest.state == PacketState::Lost || oldest.state == PacketState::Abandoned;
    if (may_return && now - oldest.sent_at < memory + channel.rtt.smoothed()) break;
    packets.pop();
  }
  lane.acked_numbers.remove_below(packets.begin());
}

std::optional<Instant> SenderPath::pto_at() const {
  if (packets_in_flight_ == 0 || probe_pending_) return std::nullopt;
  return last_sent_ + channel.rtt.pto_after(pto_count_);
}

std::optional<Instant> SenderPath::next_timeout() const {
  std::optional<Instant> next = pto_at();
  for (const auto& lane : lanes) next = earlier(next, lane->loss.next_check());
  next = earlier(next, hole_check_at());
  next = earlier(next, handover_at_);
  next = earlier(next, tail_.duplicate_at);
  return earlier(next, tail_.probe_at);
}

void SenderPath::on_timeout(bool preferred, Instant now) {
  if (is_due(handover_at_, now)) abandon();
  for (const auto& lane : lanes) {
    if (!is_due(lane->loss.next_check(), now)) continue;
    detect_losses(*lane, now);
    retire(*lane, now);
  }
  repair_tail(now);
  if (is_due(pto_at(), now)) {
    on_pto(preferred, now);
  } else if (is_due(hole_check_at(), now)) {
    hole_checked_ = true;
    probe_pending_ = preferred;
  }
}

void SenderPath::on_pto(bool preferred, Instant now) {
  ++counters_.probe_timeouts;
  ++pto_count_;
  controller_->on_pto(now);
  if (!preferred) {  // its repair belongs to the preferred path, and whether it lives is for others to find
                     // out
    abandon();
    return;
  }
  repeat_oldest();
  probe_pending_ = true;
}

/// Queues the oldest data in flight once more, of all lanes at most a tail quantum; the packets stay in
/// flight.
void SenderPath::repeat_oldest() {
  for (const auto& lane : lanes) {
    std::size_t bytes = 0;
    lane->for_each_outstanding([&](const SentPacket& packet) {
      put_back(packet);
      bytes += packet.wire_bytes;
      return bytes < kTailQuantumBytes / lanes.size();
    });
  }
}

/// The last packets that left, on whichever lanes.
void SenderPath::repeat_newest() {
  std::vector<const SentPacket*> last;
  for (const auto& lane : lanes) {
    SentPackets& packets = lane->packets;
    std::size_t found = 0;
    for (std::uint64_t n = packets.end(); n > packets.begin() && found < kTailDuplicatePackets;) {
      const SentPacket& packet = packets[--n];
      if (packet.state != PacketState::Outstanding) continue;
      last.push_back(&packet);
      ++found;
    }
  }
  std::sort(last.begin(), last.end(), [](auto* a, auto* b) { return a->sequence > b->sequence; });
  last.resize(std::min(last.size(), kTailDuplicatePackets));
  std::size_t bytes = 0;
  for (const SentPacket* packet : last) {
    bytes += packet->wire_bytes;
    if (packet != last.front() && bytes > kTailQuantumBytes) return;
    put_back(*packet);
  }
}

void SenderPath::arm_tail(bool finished) {
  if (tail_.armed || packets_in_flight_ == 0) return;
  tail_.armed = true;
  if (finished && !tail_.duplicated) tail_.duplicate_at = last_sent_ + channel.rtt.smoothed() / 4;
  if (!tail_.probed) tail_.probe_at = last_sent_ + channel.rtt.pto() / 2;
}

void SenderPath::repair_tail(Instant now) {
  if (is_due(tail_.duplicate_at, now)) {
    tail_.duplicate_at.reset();
    tail_.duplicated = true;
    repeat_newest();
  }
  if (is_due(tail_.probe_at, now)) {
    tail_.probe_at.reset();
    tail_.probed = true;
    repeat_oldest();
  }
}

void SenderPath::start_handover(Instant now) {
  if (packets_in_flight_ == 0) return;
  if (pto_count_ > 0) {  // it is silent already
    abandon();
    return;
  }
  handover_at_ = now + std::max<Duration>(kHandoverRtts * channel.rtt.smoothed(), kMinHandover);
}

void SenderPath::abandon() {
  for (const auto& lane : lanes) {
    lane->for_each_outstanding([this](SentPacket& packet) {
      packet.state = PacketState::Abandoned;
      put_back(packet);
      return true;
    });
    lane->oldest_outstanding = lane->packets.end();
    lane->loss.clear_check();
  }
  in_flight_ = packets_in_flight_ = 0;
  pto_count_ = 0;
  probe_pending_ = false;
  handover_at_.reset();
  tail_ = {};
}

}  // namespace dh::bulk
