#pragma once

#include <cstddef>

#include "base/time.hh"

namespace dh::session {

// Every bound of a meeting by code, with its reason. Spec: docs/protocol/code.md "Limits".

// What guessing costs.
constexpr unsigned kCodeTries = 3;          // wrong ones, then the code is burnt: 3 x 2^-22 for a guesser
constexpr Duration kBetweenTries = 5s;      // after a wrong one: time to notice it and stop
constexpr Duration kCodeLife = 10min;       // long enough to walk to the other machine
constexpr Duration kMaxCodeLife = 60min;    // the receiver looks one hour back, not two
constexpr unsigned kMaxRunMessages = 30;    // both ways together, for one receiver; a clean run has 7
constexpr std::size_t kMaxRuns = 32;        // receivers at a time; the oldest is forgotten
constexpr Duration kAllHellosEvery = 50ms;  // 20 answers per second at most, whoever asks
constexpr unsigned kAllHellosBurst = 20;
constexpr Duration kAllSharesEvery = 100ms;  // each costs three curve operations, a third of a millisecond
constexpr unsigned kAllSharesBurst = 20;

// The sender's address.
constexpr Duration kRingEvery = 1200ms;        // relays answer "not here" once a second
constexpr unsigned kRings = 3;                 // unanswered: somebody is there
constexpr Duration kSelfCheckEvery = 10s;      // a ring to ourselves; a second login would get it instead
constexpr Duration kSelfCheckWithin = 4s;      // twice what a relay may hold a packet before it gives up
constexpr Duration kFirstSelfCheckEvery = 1s;  // until the first one arrives
constexpr unsigned kMissedSelfChecks = 2;      // in a row, on two good connections: not loss
constexpr unsigned kMissedFirstChecks = 10;    // before the code was ever shown
constexpr Duration kGiftLinger = 20s;          // the last message may be lost: repeated when asked again

// The receiver's patience.
constexpr Duration kCodeResend = 1s;      // no measured round trip yet; above any sane relay's
constexpr Duration kCallPatience = 3s;    // nobody said "not here", nobody answered: next address
constexpr Duration kRoundPause = 3s;      // between two rounds: relays say "not here" once a second
constexpr Duration kProofPatience = 15s;  // covers the pause after somebody else's wrong try
constexpr Duration kGonePatience = 6s;    // the relay says that the sender left: it may come back

}  // namespace dh::session
