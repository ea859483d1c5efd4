#pragma once

#include <algorithm>

#include "bulk/ack_tracker.hh"
#include "bulk/keys.hh"
#include "bulk/rtt_estimator.hh"

namespace dh::bulk {

constexpr PathProperties bounded(PathProperties properties) {
  properties.datagram_bytes = std::clamp(properties.datagram_bytes, kMinDatagramBytes, kMaxDatagramBytes);
  return properties;
}

/// What both ends keep for one path: keys each way, what arrived, the round-trip time.
struct PathChannel {
  PathChannel(const StreamConfig& config, Direction outgoing, PathId path, const PathProperties& given)
      : id(path),
        properties(bounded(given)),
        sealer(config, outgoing, path),
        opener(config, outgoing == Direction::ToReceiver ? Direction::ToSender : Direction::ToReceiver, path),
        rtt(properties.initial_rtt) {}

  /// Where frames go inside `out`: behind the header, with room left for the tag.
  ByteSpan plain_part(ByteSpan out) const {
    const std::size_t size = std::min(out.size(), properties.datagram_bytes);
    return out.subspan(wire::BulkHeader::kSize, size - wire::BulkHeader::kSize - Aead::kTagSize);
  }

  void set_datagram_bytes(std::size_t bytes) {
    properties.datagram_bytes = bytes;
    properties = bounded(properties);
  }

  const PathId id;
  PathProperties properties;
  PacketSealer sealer;
  PacketOpener opener;
  AckTracker acks;
  RttEstimator rtt;
};

}  // namespace dh::bulk
