#pragma once

#include <cstdint>

#include "base/bytes.hh"

namespace dh {

/// The only source of randomness a core may use, handed to its constructor: one for secrets and unguessable
/// ids (in programs the operating system's generator, io/system_rng.hh), one for jitter and choices.
class Rng {
public:
  virtual ~Rng() = default;
  virtual void fill(ByteSpan out) = 0;

  std::uint64_t u64();
  /// Uniform in [0, bound), without modulo bias. bound must not be 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [0, 1).
  double unit();
  bool chance(double probability) { return unit() < probability; }
};

/// Seeded, fast, repeatable: xoshiro256**. For jitter, tests and simulation; never for keys.
class SeededRng final : public Rng {
public:
  explicit SeededRng(std::uint64_t seed);
  void fill(ByteSpan out) override;
  std::uint64_t next();

private:
  std::uint64_t state_[4];
};

}  // namespace dh
