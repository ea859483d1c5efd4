#pragma once

// Every bound of a bulk stream, with its unit and its reason. Spec: docs/protocol/bulk.md, "Limits".

#include <cstddef>
#include <cstdint>

#include "base/time.hh"

namespace dh::bulk {

// Packets and keys.
inline constexpr std::size_t kMinDatagramBytes = 256;     // header, tag, the largest abort
inline constexpr std::size_t kMaxDatagramBytes = 65'535;  // what UDP and a relay frame can carry
inline constexpr std::size_t kBaseDatagramBytes = 1200;   // what any direct path carries; more is found out
inline constexpr std::size_t kSmallPacketBytes = 2048;    // AES-GCM's limit is higher for packets up to this
inline constexpr std::uint64_t kKeyUpdatePacketsLarge = std::uint64_t{1} << 22;  // half of RFC 9001's 2^23
inline constexpr std::uint64_t kKeyUpdatePacketsSmall = std::uint64_t{1} << 26;  // a quarter of its 2^28
inline constexpr std::uint64_t kLargePacketWeight =
    kKeyUpdatePacketsSmall / kKeyUpdatePacketsLarge;  // a large packet uses up a key as so many small ones do
inline constexpr std::uint64_t kMaxForgedPackets = std::uint64_t{1}
                                                   << 30;         // failed opens; far below 2^52, 2^36
inline constexpr std::uint64_t kReplayWindowPackets = 64 * 1024;  // 65 ms at a million packets a second
inline constexpr int kOldKeyPtos = 3;  // how long a replaced receive key serves late packets

// Lanes.
inline constexpr std::size_t kMaxLanes = 4;  // of one path
inline constexpr std::size_t kLaneRun = 44;  // packets of one lane in a row: what leaves in one system call

// Acknowledgements.
inline constexpr std::size_t kMaxAckRanges = 64;       // per path: what one ACK frame holds
inline constexpr std::uint64_t kAckEveryPackets = 64;  // at the latest; the sender asks earlier with ack-me
inline constexpr std::uint64_t kMinAckSpacing = 2;     // sender: smallest distance of ack-me packets
inline constexpr std::uint64_t kAcksPerWindow = 16;    // sender: ack-me packets per congestion window
inline constexpr Duration kMaxAckDelay = 5ms;          // a packet is acknowledged no later
inline constexpr Duration kGapAckSpacing = 1ms;        // a storm of gaps acks no more often
inline constexpr Duration kPingInterval = 1s;          // receiver measures its rtt with a PING this often
inline constexpr std::size_t kFewAckRanges = 4;        // above it, a PING each probe timeout ...
inline constexpr Duration kMinPingInterval = 10ms;  // ... and at least this finds out what needs no repeating
inline constexpr std::size_t kMaxPings = 16;        // so many of them are remembered until they are answered

// Round-trip time and loss.
inline constexpr Duration kTimerGranularity = 1ms;
inline constexpr Duration kMinInitialRtt = 1ms;  // a path measured faster is still only guessed
inline constexpr Duration kMaxRttSample = 10s;   // longer than any path: the host was asleep
inline constexpr int kNapFactor = 4;  // a sample beyond 4 x (srtt + 4 rttvar) + 1 s is not the path's ...
inline constexpr Duration kNapFloor = 1s;
inline constexpr Duration kNapMemory = 2s;                // ... unless they go on for this long
inline constexpr Duration kMaxInitialRtt = 3s;            // a worse guess would only delay the first repair
inline constexpr Duration kMaxPtoBackoff = 1s;            // a dead path is probed at least this often
inline constexpr std::uint64_t kPacketThreshold = 3;      // RFC 9002; grows with what reordering was seen
inline constexpr int kTimeThresholdShift = 3;             // rtt + rtt/8 = 9/8
inline constexpr double kFastPathBytesPerSecond = 125e6;  // above it three packets are too short a time
inline constexpr std::uint64_t kMaxSentPackets = std::uint64_t{1} << 20;  // 100 MiB of records; grown by need

// Congestion.
inline constexpr std::uint64_t kInitialWindowPackets = 32;   // paced over the measured rtt
inline constexpr std::uint64_t kRelayInitialPackets = 12;    // of the 32 a relay queues per destination
inline constexpr std::uint64_t kRelayWindowPackets = 24;     // cannot overflow the relay's queue
inline constexpr std::uint64_t kRelayMaxWindowPackets = 30;  // while no loss is seen
inline constexpr std::uint64_t kRelayCalmRounds = 8;         // loss-free rounds per extra packet
inline constexpr std::uint64_t kRelayLeastPackets = 4;       // however long its queue
inline constexpr Duration kRelayQueueDelay =
    100ms;                                         // beyond the shortest round trip: somebody waits behind us
inline constexpr Duration kRelayBasePeriod = 10s;  // that shortest one is of the last one or two of these
inline constexpr std::uint64_t kMinWindowPackets = 2;
inline constexpr std::uint64_t kMaxWindowBytes = std::uint64_t{512} << 20;  // 10 Gbit/s x 400 ms

// The scavenger (ledbat.hh).
inline constexpr Duration kLedbatTarget = 60ms;         // of queue
inline constexpr Duration kLedbatLeastTarget = 5ms;     // above what acks held back look like
inline constexpr std::size_t kLedbatNoiseFilter = 4;    // the present delay is the least of so many samples
inline constexpr std::size_t kLedbatHistorySteps = 10;  // the base delay is the least of so many ...
inline constexpr Duration kLedbatHistoryStep = 60s;     // ... of these
inline constexpr Duration kLedbatStillTime = 30s;       // so long, longer than CUBIC's plateaus, ...
inline constexpr Duration kLedbatStillness = 2ms;       // ... within this: the route, not a queue

// Pacing.
inline constexpr Duration kPacingQuantum = 250us;   // a wake-up sends this much time's worth
inline constexpr Duration kMinPacingCredit = 2ms;   // missed time that may be made up ...
inline constexpr Duration kMaxPacingCredit = 10ms;  // ... clamped from half the rtt
inline constexpr double kCatchUpFactor = 4;         // and no faster than this times the rate,
inline constexpr std::uint64_t kBurstShare = 2;     // nor more of it than this part of the receiver's socket

// What a person allows (rate_limit.hh).
inline constexpr Duration kRateLimitBurst = 10ms;           // missed time that may be made up
inline constexpr Duration kRateLimitPacketTime = 20ms;      // a packet lasts no longer at that rate ...
inline constexpr std::size_t kRateLimitLeastPacket = 1024;  // ... but carries at least this much

// The end of a stream, and its silences.
inline constexpr std::size_t kTailDuplicatePackets = 8;      // final packets sent twice
inline constexpr std::size_t kTailQuantumBytes = 64 * 1024;  // most a tail repair repeats
inline constexpr int kMaxAbortTries = 16;        // then the peer is gone and learns it from the session
inline constexpr Duration kNoPathPause = 100ms;  // with no path at all, look again this often
inline constexpr Duration kLinger = 30s;         // receiver repeats COMPLETE: a relay may be coming back
inline constexpr Duration kLingerWhenGone = 5s;  // ... once a relay says that the sender has left
inline constexpr Duration kIdleProbe = 1s;       // sender waiting for a window or COMPLETE asks this often
inline constexpr Duration kMinHandover = 200ms;  // data on a path no longer preferred may still arrive
inline constexpr int kHandoverRtts = 2;

// Datagrams above kBaseDatagramBytes lost in a row while smaller ones arrive: such a size does not pass any
// more.
inline constexpr std::uint64_t kBlackHolePackets = 3;

// So much unsent is a backlog, less may be a writer's last write.
inline constexpr std::uint64_t kBacklogBytes = 64 * 1024;

// A writer that follows the stream keeps half to all of so many packets ready, ...
inline constexpr std::size_t kPacketsAhead = 256;
// ... and is not asked for less than this.
inline constexpr std::size_t kLeastRoom = 32 * 1024;

// Memory.
inline constexpr std::size_t kMaxGaps = 16 * 1024;  // holes in what has arrived: 256 KiB of bookkeeping
inline constexpr std::uint64_t kMaxReceiveWindow = std::uint64_t{1} << 30;  // bytes
inline constexpr std::size_t kMaxPaths = 64;                                // ids 0..63

// A path whose data is not acknowledged for this long is given up for another one.
inline constexpr int kStallPtos = 3;
inline constexpr Duration kMinStall = 250ms;
// Before its first ack nothing says that it carries full datagrams at all; pings have measured its round
// trip.
inline constexpr int kFirstStallRtts = 2;
inline constexpr Duration kMinFirstStall = 100ms;

}  // namespace dh::bulk
