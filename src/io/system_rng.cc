#include "io/system_rng.hh"

#include <sodium.h>

namespace dh::io {

void SystemRng::fill(ByteSpan out) {
  if (!out.empty())
    randombytes_buf(out.data(), out.size());  // an empty span may be null, which libsodium may not
}

}  // namespace dh::io
