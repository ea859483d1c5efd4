#include "bulk/stream_digest.hh"

#ifdef DERPHOLE_XXHASH_DISPATCHES
#include <xxh_x86dispatch.h>  // makes XXH3_64bits_update the widest this CPU has
#endif

namespace dh::bulk {

void StreamDigest::update(ByteView bytes) {
  XXH3_64bits_update(&state_, bytes.data(), bytes.size());
}

}  // namespace dh::bulk
