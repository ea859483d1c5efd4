#pragma once

#include <cstdint>

#define XXH_STATIC_LINKING_ONLY  // the state as a member
#include <xxhash.h>

#include "base/bytes.hh"

namespace dh::bulk {

/// XXH3-64 of everything fed so far. Catches our own assembly bugs; the tags have kept attackers out already.
class StreamDigest {
public:
  StreamDigest() { XXH3_64bits_reset(&state_); }
  void update(ByteView bytes);
  std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

private:
  XXH3_state_t state_{};
};

}  // namespace dh::bulk
