#include "base/rng.hh"

#include <bit>

#include "base/check.hh"

namespace dh {

std::uint64_t Rng::u64() {
  std::uint64_t value = 0;
  fill({reinterpret_cast<std::byte*>(&value), sizeof value});
  return value;
}

std::uint64_t Rng::below(std::uint64_t bound) {
  CHECK(bound != 0);
  const std::uint64_t reject_under = (0 - bound) % bound;  // 2^64 mod bound
  for (;;) {
    const std::uint64_t value = u64();
    if (value >= reject_under) return value % bound;
  }
}

double Rng::unit() {
  return static_cast<double>(u64() >> 11) * 0x1.0p-53;
}

SeededRng::SeededRng(std::uint64_t seed) {
  for (auto& word : state_) {  // splitmix64 spreads a small seed over the whole state
    seed += 0x9e3779b97f4a7c15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    word = z ^ (z >> 31);
  }
}

std::uint64_t SeededRng::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRng::fill(ByteSpan out) {
  while (!out.empty()) {
    const std::uint64_t value = next();
    const std::size_t size = std::min(out.size(), sizeof value);
    std::memcpy(out.data(), &value, size);
    out = out.subspan(size);
  }
}

}  // namespace dh
