#pragma once

// Every bound of finding and keeping a direct path, with its unit and reason. docs/protocol/paths.md has the
// protocol.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.hh"

namespace dh::path {

// Candidates.
inline constexpr std::size_t kMaxLocalCandidates = 16;  // told to the peer, predicted ones apart
inline constexpr std::size_t kMaxPairs = 64;       // peer's candidates and peer-reflexive addresses together
inline constexpr std::size_t kPredictedPorts = 8;  // guesses per list when our NAT counts

// Probing. Front-loaded: a lost first probe must not cost a whole interval.
inline constexpr std::array<Duration, 10> kProbeSchedule = {0ms,   20ms,   60ms,   140ms,  300ms,
                                                            600ms, 1000ms, 1600ms, 2400ms, 3600ms};
inline constexpr std::size_t kFreeProbes = 8;        // of a round, sent without a gap
inline constexpr Duration kProbeGap = 4ms;           // between the others, over all candidates
inline constexpr std::size_t kMaxRoundProbes = 120;  // to unproven addresses per round
inline constexpr double kProbeBurst = 240;           // ... and over all rounds: so many at once, ...
inline constexpr double kProbeRefill = 4;        // ... so many more a second, and one for each authentic ping
inline constexpr Duration kTriggeredGap = 15ms;  // least pause before a ping that a peer's ping triggers
inline constexpr std::uint8_t kOpenerTtl = 2;    // hops: out of our own gateway, not into the peer's
inline constexpr Duration kAfterOpener = 150ms;  // the peer's opener has left by then, too
inline constexpr Duration kMaxStartDelay = 1s;   // of a synchronised start
inline constexpr Duration kForgetPing = 5s;      // later pongs prove nothing

// A valid pair.
inline constexpr Duration kPingInUse = 3s;     // on the path that carries traffic
inline constexpr Duration kPingStandby = 15s;  // NAT mappings of the worst devices live 30 s
inline constexpr Duration kTrafficMemory = 10s;
inline constexpr Duration kQuiet = 300ms;  // traffic stopped coming: ask, which also mends a lost NAT mapping
inline constexpr Duration kFollowAfter =
    100ms;                                     // the peer sends another way and this one is silent: follow it
inline constexpr Duration kPingRetry = 250ms;  // or 3 RTT, before a ping counts as unanswered
inline constexpr unsigned kMissedPings = 3;    // unanswered in a row: suspect
inline constexpr Duration kSuspectPing = 200ms;
inline constexpr Duration kSuspectFor = 10s;  // then slower
inline constexpr Duration kSuspectSlowPing = 1s;
inline constexpr Duration kSuspectLimit = 120s;  // then the pair is given up

// The size of datagrams on a pair (RFC 8899). Payloads of UDP, in bytes.
inline constexpr std::size_t kBaseDatagram = 1200;  // passes wherever IPv6 does; less is no path for a stream
inline constexpr std::size_t kMaxDatagram = 9000;   // beyond jumbo frames there is nothing to win
inline constexpr std::size_t kUsualMtu = 1500;      // of an interface that does not say
inline constexpr std::size_t kMtuStep = 16;         // less than 1 % is not worth another probe
inline constexpr unsigned kMaxMtuProbes = 3;        // MAX_PROBES: unanswered, then that size does not pass
inline constexpr Duration kMtuRaise = 600s;         // PMTU_RAISE_TIMER: then larger sizes are tried again
inline constexpr Duration kFirstMtuSlack = 10ms;    // beyond 9/8 RTT, for the first full ping's answer
inline constexpr Duration kMtuErrorPause = 2s;      // full pings where only small ones pass: so far apart ...
inline constexpr unsigned kMtuErrorTries = 10;      // ... so often, then with the standby pings
// Full pings to addresses that have not answered, beside the small ones of the schedule's first steps: so
// that proving both takes one round trip.
inline constexpr std::size_t kEarlyFullSteps = 3;
inline constexpr double kFullBurst = 12;    // so many at once: twice the bytes of kProbeBurst ...
inline constexpr double kFullRefill = 0.1;  // ... so many a second, and one for each full ping that arrives

// Choosing.
inline constexpr Duration kBetterBy = 5ms;   // or a tenth of the RTT, whichever is more
inline constexpr Duration kDwell = 10s;      // least time between two switches for the RTT's sake
inline constexpr Duration kIpv6Bonus = 3ms;  // usually no NAT whose mapping could go
inline constexpr Duration kFailureMemory =
    30s;  // a path that failed so recently must win by twice the margin

inline constexpr Duration kStallPause = 2s;  // after the second stall in a row; doubles with each
inline constexpr Duration kGoodRun = 1s;  // in use for that long, and twice its last rest: no stall in a row
inline constexpr Duration kMaxStallPause = 60s;
inline constexpr Duration kPoorRest = 120s;   // of an address that delivers less than the relay
inline constexpr std::size_t kMaxStalls = 8;  // addresses remembered

// Attempts, started by the dialer.
inline constexpr Duration kGatherPatience = 150ms;  // for the first STUN answers before the first list
inline constexpr Duration kFreshPatience =
    400ms;  // for all STUN answers at a fresh port: one more tells the stride
inline constexpr Duration kFreshAfter = 1s;         // a plain attempt without success
inline constexpr Duration kBirthdayAfter = 1500ms;  // an attempt from fresh ports without success
inline constexpr std::array<Duration, 3> kRetryAfter = {5s, 15s, 60s};  // the last one repeats
inline constexpr Duration kRetryAfterLoss = 500ms;                      // a path was valid and is gone
inline constexpr Duration kBirthdayPause = 60s;                         // at least, between two searches
inline constexpr unsigned kMaxBirthdays = 3;                            // per session
inline constexpr std::size_t kBirthdaySockets = 256;
inline constexpr std::size_t kBirthdayProbes = 1024;  // 98 % with 256 ports at the other side
inline constexpr Duration kBirthdayGap = 4ms;  // 250 probes a second: a small router's session table survives
inline constexpr Duration kBirthdayTime = 8s;
inline constexpr std::uint8_t kSearchOpenerTtl = 3;  // hops: out of a gateway and a carrier's NAT behind it
inline constexpr Duration kCallInterval = 1s;        // lists accepted from the peer: one per interval ...
inline constexpr unsigned kCallBurst = 6;            // ... and so many at once

// STUN.
inline constexpr std::array<Duration, 3> kStunWait = {150ms, 300ms, 600ms};  // per try
inline constexpr Duration kStunSilence = 1s;  // no answer: ask again after it, then twice, four times, ...
inline constexpr Duration kStunRefreshMin = 20s;  // random between: keeps the mapping and notices a new one
inline constexpr Duration kStunRefreshMax = 26s;
inline constexpr std::size_t kMaxStunServers = 8;  // both families together
inline constexpr int kMaxStride = 16;  // ports: a NAT that counts in larger steps is called random

}  // namespace dh::path
