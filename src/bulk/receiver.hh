#pragma once

#include <memory>

#include "base/rng.hh"
#include "bulk/keys.hh"

namespace dh::bulk {

/// Receiving half of one bulk stream; delivers bytes in order, each once. Pure; same contract as Sender.
/// Spec: docs/protocol/bulk.md.
class Receiver {
public:
  Receiver(const StreamConfig& config, Instant now, Rng& rng);
  ~Receiver();

  void add_path(PathId id, const PathProperties& properties, Instant now);
  void remove_path(PathId id, Instant now);
  /// Another lane of this path, as Sender::add_lane.
  void add_lane(PathId path, PathId lane);
  /// Whether datagrams on this path have somewhere to go; what arrives on it counts either way.
  void set_path_usable(PathId id, bool usable);

  // Stream.
  ByteView readable() const;  // next bytes in order, contiguous; stable until consume() or an input
  void consume(std::size_t size, Instant now);  // the reader has them; opens the receive limit
  void confirm(Instant now);         // after StreamEnded: everything is where it belongs; tells the sender
  void on_sender_gone(Instant now);  // a hint: it has probably ended, so do not wait long for its last word
  void abort(AbortCode code, std::string reason, Instant now);

  // Datagrams.
  /// `ahead`: what an ahead_opener() made of it.
  bool on_datagram(PathId path, ByteSpan datagram, Instant now, const std::optional<Opened>& ahead = {});
  /// Rises whenever ahead_opener() has something new to give. 0: no such lane.
  std::uint64_t keys_version(PathId lane) const;
  std::shared_ptr<AheadOpener> ahead_opener(PathId lane) const;  // nullptr: no such lane
  void on_timeout(Instant now);
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now);
  /// After abort() from either side: both ends know, or the peer cannot be told. Nothing is left to send.
  bool abort_settled() const;
  std::optional<StreamEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  const StreamCounters& counters() const;
  std::size_t buffered_bytes() const;  // waiting for the reader or for a gap to close

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dh::bulk
