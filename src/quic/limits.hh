#pragma once

// Every bound of a QUIC connection, with its unit and reason. docs/protocol/tunnel.md has the protocol.

#include <cstddef>
#include <cstdint>

#include "base/time.hh"

namespace dh::quic {

inline constexpr std::size_t kMinDatagramBytes = 1200;  // RFC 9000 §14: a smaller path carries no QUIC
// Through a relay. Larger ones save the relay work, but congestion control counts in datagrams of this size,
// also on a narrow direct path, where its smallest window is four of them.
inline constexpr std::size_t kMaxDatagramBytes = 8192;

// Receiving: what may lie before the readers of all streams together. QUIC cannot take back what a peer was
// allowed to send, so all of it is given out beforehand: kFirstWindow to every stream there can be, the rest
// in shares of what is left (WindowBudget). Readers that pause keep what they have, and nobody else's.
inline constexpr std::uint64_t kMaxUnread = 64 << 20;     // bytes
inline constexpr std::uint64_t kMaxStreams = 4096;        // open at once; 5 KiB each beside their bytes
inline constexpr std::uint64_t kFirstWindow = 4 << 10;    // bytes; most first questions are shorter
inline constexpr std::uint64_t kGrowthBudget = 48 << 20;  // bytes
static_assert(kMaxStreams * kFirstWindow + kGrowthBudget <= kMaxUnread);
// A stream that opens: a page's worth for the first round trip, at most such a part of what is left (21 KiB
// beside a thousand others).
inline constexpr std::uint64_t kOpeningWindow = 64 << 10;  // bytes
inline constexpr std::uint64_t kOpeningShare = 768;
// One that is read: this much, at most such a part of what it finds.
inline constexpr std::uint64_t kFreeWindow = 256 << 10;  // bytes
inline constexpr std::uint64_t kSmallShare = 32;
// One that is read fast: four fifths of what it finds beyond what is kept for the smaller ones. The first
// gets 1 Gbit/s at 100 ms; if it pauses, the next finds a fifth of that.
inline constexpr std::uint64_t kLargestWindow = 32 << 20;  // bytes
inline constexpr std::uint64_t kKeptForSmall = 8 << 20;    // bytes
inline constexpr std::uint64_t kLargeShareFifths = 4;
static_assert((kGrowthBudget - kKeptForSmall) / 5 * kLargeShareFifths + kFirstWindow >= kLargestWindow);
inline constexpr Duration kSlowReader = 1s;  // and eight round trips for half of a large window: it shrinks
// The connection as a whole has more credit than its streams can use, so it stops none of them: ngtcp2 keeps
// what was read to itself until it is half of this.
inline constexpr std::uint64_t kSessionWindow = 2 * kMaxUnread;

// Sending: bytes that were written and never sent. What was sent and is not acknowledged is bounded by the
// congestion window. A stream may have kMinUnsent in any case, and more while it is at most such a part of
// what the budget has left.
inline constexpr std::size_t kMaxUnsent = 256 << 10;    // of a stream
inline constexpr std::size_t kMinUnsent = 4 << 10;      // of a stream
inline constexpr std::size_t kUnsentBudget = 16 << 20;  // of all streams together
inline constexpr std::size_t kUnsentShare = 8;
inline constexpr std::size_t kMostUnsent = 32 << 20;  // of all streams together, however many there are
static_assert(kUnsentBudget + kMaxStreams * kMinUnsent <= kMostUnsent);

inline constexpr std::size_t kStreamQuantum = 16 << 10;  // bytes a stream sends before the next one's turn
// What holds no new bytes of a stream waits this long, or for so many datagrams: mostly the bytes that go
// back take it with them. Acknowledgements, and with them repairs and news of limits, which cannot be told
// apart. Only where an eighth of the round trip is less: that is how long ngtcp2 lets an acknowledgement
// wait.
inline constexpr Duration kAnswerDelay = 1ms;
inline constexpr unsigned kAnswerEvery = 8;
inline constexpr Duration kSilentIdle = 30min;           // how long a session of nobody speaking is kept
inline constexpr std::size_t kRefusedHandshakes = 1000;  // beyond: the secrets differ, trying goes on no more

}  // namespace dh::quic
