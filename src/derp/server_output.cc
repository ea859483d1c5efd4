#include "derp/server_output.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::derp {
namespace {
constexpr std::size_t kRecvOverhead = wire::derp::kFrameHeaderSize + wire::derp::kDerpKeySize;
}

void ServerOutput::push_packet(const PublicKey& from, ByteView packet, bool disco) {
  const bool fits = staging_.empty() || staging_.size() + kRecvOverhead + packet.size() <= kBatchBytes;
  if (!in_flight_ && fits && control_.empty() && data_.empty() && disco_.empty()) {
    open_staging();
    append_recv_packet(staging_, from, packet);
    count_sent(packet.size());
    return;
  }
  if ((disco ? disco_ : data_).push(from, packet)) ++counters_.dropped_queue_head;
}

void ServerOutput::take(Bytes& batch) {
  CHECK(is_ready());
  batch.swap(staging_);
  pool_.give(std::move(staging_));
  staging_ = Bytes();
  in_flight_ = true;
}

void ServerOutput::written() {
  if (!in_flight_) return;
  in_flight_ = false;
  stage();
}

std::size_t ServerOutput::clear() {
  const std::size_t packets = waiting_packets();
  pool_.give(std::move(staging_));
  staging_ = Bytes();
  control_ = Bytes();
  control_begin_ = 0;
  data_.clear();
  disco_.clear();
  return packets;
}

Bytes* ServerOutput::control_target(std::size_t max_bytes) {
  if (!in_flight_ && control_.empty() && staging_.size() < kBatchBytes) {
    open_staging();
    return &staging_;
  }
  return control_.size() - control_begin_ < max_bytes ? &control_ : nullptr;
}

void ServerOutput::stage() {
  if (!control_.empty()) {
    open_staging();
    const ByteView waiting = ByteView(control_).subspan(control_begin_);
    const ByteView now = waiting.first(std::min(waiting.size(), kBatchBytes));
    staging_.insert(staging_.end(), now.begin(), now.end());
    control_begin_ += now.size();
    // A batch may end within a control frame; packets come only after the whole of it.
    if (control_begin_ < control_.size()) return;
    control_ = Bytes();
    control_begin_ = 0;
  }
  while (!data_.empty() || !disco_.empty()) {
    const bool disco = data_.empty() || (disco_next_ && !disco_.empty());
    if (!stage_front(disco ? disco_ : data_)) return;
    disco_next_ = !disco;
  }
}

bool ServerOutput::stage_front(PacketQueue& queue) {
  const ByteView frame = queue.front();
  if (!staging_.empty() && staging_.size() + frame.size() > kBatchBytes) return false;
  open_staging();
  staging_.insert(staging_.end(), frame.begin(), frame.end());
  count_sent(frame.size() - kRecvOverhead);
  queue.pop();
  return true;
}

void ServerOutput::open_staging() {
  // An idle client holds no buffer. Not reserved: a keepalive must not cost 64 KiB for each of them.
  if (staging_.capacity() == 0) staging_ = pool_.take_any();
}

void ServerOutput::count_sent(std::size_t packet_bytes) {
  ++counters_.packets_sent;
  counters_.bytes_sent += packet_bytes;
}

}  // namespace dh::derp
