#pragma once

#include <optional>

#include "path/limits.hh"

namespace dh::path {

/// Where the search for a pair's largest datagram stands (RFC 8899 §5.2).
///   Disabled --the pair answers pings--> Base --a full ping answered--> Searching --nothing larger left-->
///   SearchComplete --600 s--> Searching
///   Base --3 full pings unanswered--> Error --a full ping answered--> Searching
///   Searching, SearchComplete --black hole--> Base      any --this machine cannot send the base size-->
///   Error any --the pair is suspect--> Disabled
enum class MtuState : std::uint8_t {
  Disabled,        // the pair does not answer small pings, so nothing is known about large ones
  Base,            // pings of kBaseDatagram bytes are out
  Searching,       // datagram_bytes() pass; larger ones are tried while the pair carries the traffic
  SearchComplete,  // the largest size that passes is known
  Error,           // small pings are answered, full ones are not: the pair must not carry a stream
};

/// Finds the largest datagram that one pair carries, with pings padded to the size in question: datagram
/// packetization layer path MTU discovery (RFC 8899). A probe that is lost costs the stream nothing. Knows
/// sizes of UDP payloads and times; sends nothing itself. Pure, a value. Contract: on_timeout when
/// next_timeout is due, then poll_probe. Spec: docs/protocol/paths.md "Size".
class MtuSearch {
public:
  // Inputs.
  /// What this machine's interface takes, as a UDP payload; clamped to kBaseDatagram..kMaxDatagram.
  /// `standard`: the payload that fits into 1,500 bytes in the pair's family.
  void set_limits(std::size_t limit, std::size_t standard, Instant now);
  /// The pair answers small pings. `rtt`: how fast. Does nothing unless Disabled.
  void enable(Duration rtt, Instant now);
  /// It does not any more, or what it delivers has stopped: nothing is known.
  void reset();
  /// Only a pair in use is searched beyond the base size.
  void set_in_use(bool in_use, Instant now);
  /// A full ping left beside a small one, before the pair has answered any.
  void on_early_probe(Instant now);
  /// A ping of that size was answered. Sizes that never left, or mean nothing here, are ignored.
  void on_answered(std::size_t size, Instant now);
  /// This machine refuses to send so much there.
  void on_too_big(std::size_t size, Instant now);
  /// Datagrams larger than the base size have stopped arriving while small ones do (RFC 8899 §4.3).
  void on_black_hole(Instant now);
  void on_timeout(Instant now);

  // Outputs.
  /// The size of a ping that is to leave now. `rtt`: the pair's, for how long its answer may take.
  std::optional<std::size_t> poll_probe(Duration rtt, Instant now);
  std::optional<Instant> next_timeout() const { return due_; }
  /// What may be sent; 0: not even the base size is proven.
  std::size_t datagram_bytes() const { return passes_; }
  MtuState state() const { return state_; }

private:
  void begin_search(Instant now);
  void fail(std::size_t size, Instant now);
  std::optional<std::size_t> next_size() const;

  MtuState state_ = MtuState::Disabled;
  std::size_t limit_ = kBaseDatagram, standard_ = kBaseDatagram;
  std::size_t passes_ = 0;            // the largest size answered
  std::size_t fails_ = 0;             // the smallest above it that was not; 0: none yet
  std::size_t size_ = kBaseDatagram;  // of the latest probe
  std::size_t largest_sent_ = 0;      // since reset()
  unsigned tries_ = 0;                // of size_
  unsigned errors_ = 0;               // probes in Error
  bool waiting_ = false;              // the latest probe is neither answered nor given up
  bool in_use_ = false;
  std::optional<Instant> early_at_;  // when a full ping left beside the first small one
  std::optional<Instant> due_;       // waiting: the probe is given up; else the next one leaves
};

/// Bytes of IP and UDP headers around a payload.
constexpr std::size_t udp_overhead(bool v6) {
  return v6 ? 48 : 28;
}

}  // namespace dh::path
