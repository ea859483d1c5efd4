#pragma once

#include <cstddef>

#include "base/time.hh"

namespace dh::io {

// Fixed bounds of the relay shell; what an operator may change is in DerpServerLimits.

constexpr std::size_t kReadBytes = 64u << 10;    // one read; what a fast sender has in flight on a LAN
constexpr std::size_t kRecordBytes = 16u << 10;  // one TLS record
// The core sees input in slices, with queued packets moved on in between: 2 KiB hold fewer than 32 frames of
// any packet over 26 bytes, so one read cannot overrun a destination's queue of 32 by itself.
constexpr std::size_t kSliceBytes = 2u << 10;
constexpr std::size_t kCorkBytes = 64u << 10;        // written at once when a turn has produced this much
constexpr std::size_t kMaxOutputBytes = 512u << 10;  // batch and cork, and room for pongs; more is an attack
constexpr int kEventsPerTurn = 256;
constexpr int kAcceptsPerTurn = 64;
constexpr Duration kAcceptPause = 100ms;  // descriptors are used up; closing connections frees some
constexpr Duration kLinger = 1s;          // for the peer's FIN after ours

}  // namespace dh::io
