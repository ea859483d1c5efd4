#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "base/time.hh"

namespace dh::lab {

/// What one direction of a wire does to packets. The default does nothing. Probabilities are per packet,
/// 0..1.
struct LinkSettings {
  Duration delay{};
  Duration jitter{};                 // uniform 0..jitter on top of the delay; alone it never reorders
  double loss = 0;                   // each packet for itself
  double burst_loss = 0;             // that a run of lost packets begins here ...
  double burst_packets = 1;          // ... which has so many on average (geometric, at least 1)
  double reorder = 0;                // that a packet is held back while later ones pass ...
  Duration reorder_by = 10ms;        // ... for so long
  double duplicate = 0;              // that a second copy follows at once
  double corrupt = 0;                // that one bit flips (see corrupt_packet)
  double rate_bits = 0;              // bits per second of whole IP packets; 0: no limit
  std::size_t queue_bytes = 64'000;  // waiting for the rate limit; what finds no room is dropped (tail drop)
  std::size_t mtu_hole = 0;          // bytes: larger IP packets vanish without an ICMP message; 0: none
  bool cut = false;                  // everything is lost

  bool operator==(const LinkSettings&) const = default;
};

/// Packets that came in, and what became of them:
/// offered + duplicated = lost + burst_lost + cut + too_big + queue_dropped + overflowed + delivered +
/// waiting.
struct LinkCounters {
  std::uint64_t offered = 0;
  std::uint64_t offered_bytes = 0;
  std::uint64_t delivered = 0;
  std::uint64_t delivered_bytes = 0;
  std::uint64_t lost = 0;
  std::uint64_t burst_lost = 0;
  std::uint64_t cut = 0;
  std::uint64_t too_big = 0;
  std::uint64_t queue_dropped = 0;  // by the rate limit's queue
  std::uint64_t overflowed = 0;     // kMaxHeldBytes: the delay line itself is full
  std::uint64_t reordered = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t corrupted = 0;
};

/// In a delay line, both kinds together; 64 MiB is half a second at 1 Gbit/s.
inline constexpr std::size_t kMaxHeldBytes = 64 << 20;
inline constexpr std::size_t kMaxHeldPackets = 1 << 18;

/// One direction of a link. Pure: no device, clock or generator of its own.
/// Contract: after every input, drain poll_packet until it is empty, then sleep until next_timeout. `now`
/// never goes backwards. Packets leave in the order they came, except those that `reorder` holds back,
/// whatever the settings change to in between.
class Link {
public:
  /// The same seed, settings, packets and times give the same outcome.
  explicit Link(std::uint64_t seed);

  /// For packets that come from now on; those on their way keep their time.
  void configure(const LinkSettings& settings) { settings_ = settings; }
  const LinkSettings& settings() const { return settings_; }

  void on_packet(ByteView packet, Instant now);
  /// The next packet that is due; the view lives until the next call of a member that is not const.
  std::optional<ByteView> poll_packet(Instant now);
  std::optional<Instant> next_timeout() const;

  const LinkCounters& counters() const { return counters_; }
  std::size_t waiting() const { return held_.size(); }

private:
  struct Held {
    Instant release;
    std::uint64_t order = 0;
    Bytes packet;
  };
  static bool later(const Held& a, const Held& b);

  bool passes(std::size_t size);
  bool in_burst();
  /// When the last bit has left the rate limit; nullopt: the queue is full.
  std::optional<Instant> depart(std::size_t size, Instant now);
  bool hold(ByteView packet, Instant release);

  LinkSettings settings_;
  LinkCounters counters_;
  SeededRng rng_;
  bool bursting_ = false;
  Instant line_free_{};     // the rate limit's virtual clock
  Instant last_release_{};  // of a packet that was not held back
  std::uint64_t next_order_ = 0;
  std::size_t held_bytes_ = 0;
  std::vector<Held> held_;    // a heap, earliest release first
  std::vector<Bytes> spare_;  // buffers to use again
  Bytes current_;             // what poll_packet showed last
};

/// Flips one bit. In a UDP packet it is a bit of the payload and the checksum is mended, so that the
/// receiving kernel passes it on and the program has to notice; in anything else (TCP, ICMP, fragments) it is
/// any bit behind the IP header, which the kernel notices. Leaves alone what is too short to be IP with a
/// payload.
bool corrupt_packet(ByteSpan packet, Rng& rng);

}  // namespace dh::lab
