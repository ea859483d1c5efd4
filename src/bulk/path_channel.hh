#pragma once

#include <algorithm>

#include "bulk/limits.hh"
#include "bulk/rtt_estimator.hh"
#include "bulk/stream.hh"
#include "crypto/aead.hh"
#include "wire/bulk_packet.hh"

namespace dh::bulk {

constexpr PathProperties bounded(PathProperties properties) {
  properties.datagram_bytes = std::clamp(properties.datagram_bytes, kMinDatagramBytes, kMaxDatagramBytes);
  return properties;
}

/// What both ends keep for one path, beside the keys and packet numbers of its lanes.
struct PathChannel {
  PathChannel(PathId path, const PathProperties& given)
      : id(path), properties(bounded(given)), rtt(properties.initial_rtt) {}

  /// Where frames go inside `out`: behind the header, with room left for the tag.
  ByteSpan plain_part(ByteSpan out) const {
    const std::size_t size = std::min(out.size(), properties.datagram_bytes);
    return out.subspan(wire::BulkHeader::kSize, size - wire::BulkHeader::kSize - Aead::kTagSize);
  }

  void set_datagram_bytes(std::size_t bytes) {
    properties.datagram_bytes = bytes;
    properties = bounded(properties);
  }

  const PathId id;  // of its first lane as well
  PathProperties properties;
  RttEstimator rtt;
};

}  // namespace dh::bulk
