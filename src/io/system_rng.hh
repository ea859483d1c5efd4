#pragma once

#include "base/rng.hh"

namespace dh::io {

/// The operating system's generator, through libsodium.
class SystemRng final : public Rng {
public:
  void fill(ByteSpan out) override;
};

}  // namespace dh::io
