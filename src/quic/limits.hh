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

// Receiving. What a stream may hold before its reader has taken it begins with kFirstWindow, and doubles
// while the reader keeps up, as far as the path needs it.
inline constexpr std::uint64_t kFirstWindow = 64 << 10;    // bytes; a page's worth in the first round trip
inline constexpr std::uint64_t kFreeWindow = 256 << 10;    // bytes; any stream that is read may have it
inline constexpr std::uint64_t kSessionWindow = 64 << 20;  // bytes of all streams together
inline constexpr std::uint64_t kGrowthBudget = 32 << 20;   // windows above kFreeWindow share it evenly
inline constexpr std::uint64_t kMaxStreams = 4096;         // open at once; 5 KiB each beside their bytes

// Sending: bytes of one stream that were written and never sent. What was sent and is not acknowledged is
// bounded by the congestion window.
inline constexpr std::size_t kMaxUnsent = 256 << 10;
inline constexpr std::size_t kMinUnsent = 16 << 10;     // of each, when there are many streams
inline constexpr std::size_t kUnsentBudget = 32 << 20;  // of all streams together

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
