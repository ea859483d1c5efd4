#pragma once

#include <memory>

#include "base/rng.hh"
#include "bulk/congestion_controller.hh"
#include "bulk/hold_clock.hh"
#include "bulk/keys.hh"
#include "bulk/stream.hh"

namespace dh::bulk {

/// Sending half of one bulk stream. Pure: no socket, no clock, no thread.
/// Contract: after every input drain poll_transmit, then poll_event, until each is empty; then sleep until
/// next_timeout. `now` never goes backwards. Spec: docs/protocol/bulk.md.
class Sender {
public:
  Sender(const StreamConfig& config, Instant now, Rng& rng);
  ~Sender();

  // Paths. New data goes on the preferred path; what was in flight elsewhere is repaired there too.
  void add_path(PathId id, const PathProperties& properties, Instant now);
  void remove_path(PathId id, Instant now);
  /// Another lane of this path, numbered like a path: packets with numbers and keys of their own, so that
  /// threads can share the sealing. At most kMaxLanes. The receiver must know it.
  void add_lane(PathId path, PathId lane);
  void prefer_path(PathId id, Instant now);

  /// Whether datagrams on this path have somewhere to go. A path that becomes usable (again) starts afresh:
  /// the route behind it is another one. Paths are usable when added.
  void set_path_usable(PathId id, bool usable, Duration initial_rtt, Instant now);

  /// Datagrams on this path have at most this size from now on (clamped to the protocol's limits). What is in
  /// flight stays; what of it is lost is cut anew.
  void set_datagram_bytes(PathId id, std::size_t bytes);
  std::size_t datagram_bytes(PathId id) const;  // 0: no such path
  /// Bytes that the receiver's socket for this path holds, as it says. Bursts stay below half of that.
  void set_peer_capacity(PathId id, std::uint64_t bytes);
  /// How often datagrams above kBaseDatagramBytes stopped arriving on this path while smaller ones did: it
  /// fell back to that size each time, and whoever searches for sizes begins again.
  std::uint64_t black_holes(PathId id) const;

  // Stream.
  std::size_t write(ByteView data);  // bytes accepted; fewer means the buffer is full
  std::size_t writable() const;      // bytes write() would accept now
  /// The same without a copy: memory for the next bytes. Offers no more than will leave soon, so that they
  /// are still in the processor's cache then, and nothing while enough of that waits or too little would fit.
  ByteSpan room();
  void commit(std::size_t size);  // so many bytes are in what room() gave last; nothing was called in between
  void finish();                  // no more data; sends the final size and digest
  void abort(AbortCode code, std::string reason, Instant now);

  // Datagrams. Decrypts in place. false: not authentic or not for this stream (counted).
  bool on_datagram(PathId path, ByteSpan datagram, Instant now);
  void on_timeout(Instant now);
  /// Builds the next datagram into `out` (at least the path's datagram_bytes). Respects pacing and congestion
  /// control. Given `later`, datagrams of direct paths are not sealed yet: what it gets must be applied
  /// before they leave; it is left empty otherwise.
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now, Seal* later = nullptr);
  /// The relay in use takes nothing just now: poll_transmit is not asked until it does.
  void on_blocked(Instant now);
  /// After abort() from either side: both ends know, or the peer cannot be told. Nothing is left to send.
  bool abort_settled() const;
  std::optional<StreamEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  const StreamCounters& counters() const;
  /// How long the stream has waited for what so far; over all five this adds up to the time since it began.
  Duration held(HeldBy by) const;
  std::optional<Duration> smoothed_rtt(PathId path) const;
  /// What the path's congestion controller believes. Empty: no such path.
  std::optional<ControllerReport> controller_report(PathId path) const;
  std::uint64_t bytes_in_flight() const;
  /// Much more may go now than the paths have taken (kBacklogBytes): they are what holds the stream up, not
  /// the writer, not the reader and not the rate limit.
  bool has_backlog() const;
  struct PathFigures {
    std::uint64_t delivered_bytes = 0;  // acknowledged, headers included
    std::uint64_t packets_sent = 0, packets_lost = 0;
    double window_rate = 0;  // bytes per second that its present window allows
  };
  PathFigures figures(PathId path) const;  // zeros: no such path
  /// When the route behind this path must be given up unless an ack comes; empty: nothing is in flight there.
  std::optional<Instant> stalls_at(PathId path) const;
  /// When data or an abort is in flight: since when nothing has been acknowledged. Empty: nothing
  /// outstanding.
  std::optional<Instant> silent_since() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dh::bulk
