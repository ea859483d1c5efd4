#include "io/system_rng.hh"

#include <sodium.h>

namespace dh::io {

void SystemRng::fill(ByteSpan out) {
  randombytes_buf(out.data(), out.size());
}

}  // namespace dh::io
