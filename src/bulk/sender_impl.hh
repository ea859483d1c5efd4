#pragma once

#include <vector>

#include "bulk/hold_clock.hh"
#include "bulk/notice.hh"
#include "bulk/path_list.hh"
#include "bulk/rate_limit.hh"
#include "bulk/sender.hh"
#include "bulk/sender_path.hh"
#include "bulk/stream_digest.hh"

namespace dh::bulk {

/// What a sender is made of. Inputs and questions: sender.cc; what leaves: sender_transmit.cc.
struct Sender::Impl : PathList<SenderPath> {
  Impl(const StreamConfig& given, Instant now, Rng& rng)
      : config(given),
        stream(given.send_buffer),
        seed(given.controller == Controller::Bbr ? rng.u64() : 0),
        peer_limit(given.receive_window),
        rate_limit(given.rate_limit),
        progress_at(now) {}

  void prefer(SenderPath* path, Instant now);

  // Inputs.
  void on_frames(SenderPath& path, ByteView plain, const wire::BulkHeader& header, Instant now);
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
  Transmit finish_packet(SenderPath& path, SenderLane& lane, ByteSpan out, std::size_t plain_size,
                         SenderPath::Contents contents, bool end_of_burst, Instant now);
  void when_idle(Instant now);
  std::optional<Instant> wake_at() const;
  bool window_closed() const { return stream.buffer.has_new() && stream.buffer.next_offset() >= peer_limit; }
  bool waits_for_peer() const;
  bool is_writable() const { return abort.running() && !complete && stream.fin == FinState::Unwritten; }
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
  Seal* later = nullptr;  // of the poll that is running
  HoldClock held;
  HeldBy held_by = HeldBy::Source;  // as the running poll found
  bool paced = false;               // the last poll stopped at the pacer
  bool limited = false;             // ... or at the rate limit
  std::optional<Instant> idle_probe_at;
  unsigned idle_probes = 0;  // in a row
};

}  // namespace dh::bulk
