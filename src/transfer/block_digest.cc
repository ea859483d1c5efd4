#include "transfer/block_digest.hh"

#include <xxhash.h>

#ifdef DERPHOLE_XXHASH_DISPATCHES
#define XXH_STATIC_LINKING_ONLY
#include <xxh_x86dispatch.h>  // the widest this CPU has
#endif

namespace dh::transfer {

BlockDigest block_digest(ByteView block) {
  const XXH128_hash_t hash = XXH3_128bits(block.data(), block.size());
  BlockDigest out;
  store_be64(out.data(), hash.high64);
  store_be64(out.data() + 8, hash.low64);
  return out;
}

std::uint64_t short_hash(ByteView bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace dh::transfer
