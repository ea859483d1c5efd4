#pragma once

// Datagrams of a bulk stream: one clear header, then sealed frames. Spec: docs/protocol/bulk.md, "Bytes".

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.hh"

namespace dh::wire {

/// What a datagram of ours is: bits 5..4 of its first byte, below the mark 10 in bits 7..6.
enum class PacketKind : std::uint8_t {
  Bulk = 0,       // this file
  Control = 1,    // session control
  Handshake = 2,  // the Noise handshake
  Reserved = 3,
};
/// Empty: not one of our datagrams at all (STUN and DERP disco start differently).
std::optional<PacketKind> packet_kind(ByteView datagram);

/// The clear header, which is also the associated data of the seal. Big-endian.
///   0        1      2               6               12
///   | flags  | path | connection id | packet number | sealed frames ... | tag (16)
/// flags: 1 0 0 0 | key phase | ack me | end of burst | 0
struct BulkHeader {
  static constexpr std::size_t kSize = 12;                                         // bytes
  static constexpr std::uint64_t kMaxPacketNumber = (std::uint64_t{1} << 48) - 1;  // 8 years at 1 M packets/s
  static constexpr std::uint8_t kMaxPath = 63;

  bool key_phase = false;     // lowest bit of the key epoch
  bool ack_me = false;        // acknowledge at once
  bool end_of_burst = false;  // the sender has nothing more to send right now
  std::uint8_t path = 0;
  std::uint32_t connection_id = 0;  // chosen by whoever receives this
  std::uint64_t packet_number = 0;  // per path and direction; never repeats, never wraps

  /// Writes kSize bytes.
  void store(std::byte* at) const;
  /// Reads the first kSize bytes; what follows is not looked at.
  static std::expected<BulkHeader, WireError> parse(ByteView datagram);
  bool operator==(const BulkHeader&) const = default;
};

/// The first byte of each frame.
enum class FrameType : std::uint8_t {
  Padding = 0,  // everything after it is padding too
  Ping = 1,
  Ack = 2,
  Data = 3,  // always the last frame
  Fin = 4,
  Abort = 5,
  Complete = 6,
  CompleteAck = 7,
};

struct PacketRange {
  std::uint64_t first = 0, last = 0;  // both included
  bool operator==(const PacketRange&) const = default;
};

/// Selective acknowledgement of the packets of one path.
///   type 1 | path 1 | largest 6 | delay_us 4 | receive_limit 8 | received 4 | duplicates 4 | count 1
///   | first_length 4 | (gap 4 | length 4) * (count - 1)
/// first_length: packets below `largest` in the first range. gap: packets missing below the former range,
/// minus one. length: packets in this range, minus one.
struct AckFrame {
  static constexpr std::size_t kMaxRanges = 64;
  static constexpr std::size_t kFixedSize = 33;                               // bytes, one range
  static constexpr std::size_t kMaxSize = kFixedSize + 8 * (kMaxRanges - 1);  // bytes
  static constexpr std::uint64_t kMaxLength = std::uint64_t{0xffffffff};      // a longer range is cut

  std::uint8_t path = 0;            // whose packets; not always the path the frame travels on
  std::uint32_t delay_us = 0;       // from the arrival of the newest packet to this ack
  std::uint64_t receive_limit = 0;  // stream offset the sender must not reach beyond; 0 from a sender
  std::uint32_t received = 0;       // packets of this path that were authentic, modulo 2^32
  std::uint32_t duplicates = 0;     // of these, data packets that brought nothing new, modulo 2^32
  std::size_t range_count = 0;      // 1..kMaxRanges
  std::array<PacketRange, kMaxRanges> ranges;  // newest first, apart by at least one packet

  std::uint64_t largest() const { return ranges[0].last; }
};

/// Stream bytes, to the end of the datagram.
///   type 1 | offset 8 | bytes
struct DataFrame {
  static constexpr std::size_t kOverhead = 9;                                // bytes before the payload
  static constexpr std::uint64_t kMaxOffset = (std::uint64_t{1} << 62) - 1;  // nothing reaches beyond
  std::uint64_t offset = 0;
  ByteView bytes;  // never empty
};

/// Nothing follows after `final_size` bytes, and XXH3-64 of all of them is `digest`.
///   type 1 | final_size 8 | digest 8
struct FinFrame {
  static constexpr std::size_t kSize = 17;  // bytes
  std::uint64_t final_size = 0;
  std::uint64_t digest = 0;
  bool operator==(const FinFrame&) const = default;
};

/// The stream is over, unfinished.
///   type 1 | code 2 | length 1 | reason
struct AbortFrame {
  static constexpr std::size_t kMaxReason = 200;  // bytes
  std::uint16_t code = 0;
  std::string_view reason;
};

/// Receiver: every byte is where it belongs.
///   type 1 | bytes 8
struct CompleteFrame {
  static constexpr std::size_t kSize = 9;  // bytes
  std::uint64_t bytes = 0;
  bool operator==(const CompleteFrame&) const = default;
};

struct PingFrame {};
struct CompleteAckFrame {};

/// Appends frames to a fixed buffer. The caller leaves room; a frame that does not fit is our bug (CHECK).
class FrameWriter {
public:
  explicit FrameWriter(ByteSpan out) : out_(out) {}

  void ping();
  /// Writes the newest ranges that fit.
  void ack(const AckFrame& frame);
  void fin(const FinFrame& frame);
  void abort(std::uint16_t code, std::string_view reason);  // cut to kMaxReason
  void complete(const CompleteFrame& frame);
  void complete_ack();
  /// Starts the last frame; the caller writes `size` stream bytes into the returned span.
  ByteSpan data(std::uint64_t offset, std::size_t size);
  void padding(std::size_t size);

  std::size_t size() const { return size_; }
  std::size_t room() const { return out_.size() - size_; }

private:
  std::byte* take(std::size_t size);

  ByteSpan out_;
  std::size_t size_ = 0;
};

/// One frame at a time out of the plain text of a packet.
class BulkFrameReader {
public:
  explicit BulkFrameReader(ByteView plain) : reader_(plain) {}

  /// The type of the next frame, now parsed; empty at the end and after an error.
  std::optional<FrameType> next();
  std::optional<WireError> error() const { return error_; }

  // The frame just parsed; each is valid only after next() returned its type.
  const AckFrame& ack() const { return *ack_; }
  const DataFrame& data() const { return data_; }
  const FinFrame& fin() const { return fin_; }
  const AbortFrame& abort() const { return abort_; }
  const CompleteFrame& complete() const { return complete_; }

private:
  void read_ack();
  void read_data();
  void read_abort();

  Reader reader_;
  std::optional<WireError> error_;
  std::optional<AckFrame> ack_;  // a KiB that most packets need not clear
  DataFrame data_;
  FinFrame fin_;
  AbortFrame abort_;
  CompleteFrame complete_;
};

}  // namespace dh::wire
