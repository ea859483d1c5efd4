#pragma once

// Both sides of finding a self-hosted relay by the first two words of a code. Pure.
// Spec: docs/protocol/code.md "On a local network".

#include <cstdint>
#include <optional>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "session/code_keys.hh"
#include "session/knock_limits.hh"
#include "wire/lan_query.hh"

namespace dh::session {

/// What an answer tells about a relay; its address is the one the answer comes from.
struct LanRelay {
  std::uint16_t port = 0;
  ByteArray<32> pin{};
  bool operator==(const LanRelay&) const = default;
};

struct LanCounters {
  std::uint64_t questions = 0;     // well-formed
  std::uint64_t malformed = 0;     // anything else
  std::uint64_t answered = 0;      // of the questions
  std::uint64_t rate_limited = 0;  // for us, but beyond the rate
};

/// The sender: answers who knows its words.
class LanAnswerer {
public:
  static constexpr Duration kEvery = 100ms;  // 10 answers per second at most, whoever asks
  static constexpr unsigned kBurst = 10;

  LanAnswerer(LanKeys keys, LanRelay relay, Rng& rng);
  /// The answer to send to whoever asked; never longer than the question. Silence for everything else.
  std::optional<Bytes> on_question(ByteView packet, Instant now);
  const LanCounters& counters() const { return counters_; }

private:
  LanKeys keys_;
  LanRelay relay_;
  Rng& rng_;
  Bucket bucket_;
  LanCounters counters_;
};

/// The receiver: one question, and the answers to it.
class LanAsker {
public:
  /// CHECKs that there are 1 to LanQuestion::kMaxTags keys.
  LanAsker(std::vector<LanKeys> keys, Rng& rng);
  /// The same bytes every time it is asked again.
  const Bytes& question() const { return question_; }
  /// Empty for what was not made by somebody who knows the words.
  std::optional<LanRelay> on_answer(ByteView packet) const;

private:
  std::vector<LanKeys> keys_;
  ByteArray<16> nonce_{};
  Bytes question_;
};

}  // namespace dh::session
