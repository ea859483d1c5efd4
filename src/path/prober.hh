#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "base/rng.hh"
#include "path/limits.hh"
#include "path/mtu_search.hh"
#include "path/probe_cipher.hh"
#include "path/route.hh"

namespace dh::path {

/// Where a pair of one of our sockets and one address of the peer stands. Only Valid ones may carry data, and
/// only when full datagrams pass, too (Pair::carries).
///   Fresh --ping--> Probing --pong--> Valid --pings unanswered, or its data--> Suspect
///                      |                 ^--------------pong---------------------+ |
///                      +--schedule over--> Idle <----------given up----------------+
///   Idle --new round--> Fresh, and any pong makes Valid
enum class PairState : std::uint8_t {
  Fresh,    // to be probed; nothing sent in this round
  Probing,  // pings are out
  Valid,    // answered lately
  Suspect,  // was Valid; pinged often, never chosen
  Idle,     // nothing is sent until the next round
};

/// Why a pair exists.
enum class PairOrigin : std::uint8_t {
  Listed,     // in the peer's list
  Predicted,  // in the peer's list as a guess; probed in the list's order
  Reflexive,  // an authentic probe came from there
  Searched,   // a birthday probe's target that answered
};

struct Pair {
  SocketId socket = 0;
  Endpoint remote;
  PairOrigin origin = PairOrigin::Listed;
  Tier tier = Tier::Direct;
  PairState state = PairState::Fresh;

  std::size_t step = 0;   // next entry of kProbeSchedule
  Instant round_start{};  // of the current round
  bool wants_opener = false;
  std::optional<Instant> due;   // next ping
  std::optional<Duration> rtt;  // smoothed
  unsigned unanswered = 0;      // pings in a row
  std::optional<Instant> last_pong, suspect_since, failed_at, last_ping;
  MtuSearch mtu;
  bool wants_full = false;  // the next ping takes a full one along, even late in the schedule
  bool full_due = false;    // the small one has just left

  /// Whether a stream may use it: pings come back, full ones too.
  bool carries() const { return state == PairState::Valid && mtu.datagram_bytes() > 0; }
};

struct ProberCounters {
  std::uint64_t pings_sent = 0, pongs_sent = 0, pings_received = 0, pongs_received = 0;
  std::uint64_t forged = 0, replayed = 0;
  std::uint64_t unexpected_pongs = 0;  // no such ping, or from another place than it was sent to
  std::uint64_t forbidden = 0;         // addresses that are not probed, see DestinationFilter
  std::uint64_t unproven_bytes = 0;    // sent to addresses that had not answered yet
  std::uint64_t full_pings_sent = 0;   // of pings_sent: padded to ask whether that size passes
};

/// Sends sealed pings over candidate pairs and answers the peer's. Knows which pairs work and how fast; does
/// not choose. Pure.
class Prober {
public:
  Prober(const ProbeKeys& keys, Rng& rng) : cipher_(keys), rng_(rng) {}

  // Inputs.
  /// A pair to probe from `start` on; known pairs keep what is known about them. false: the table is full.
  bool add(SocketId socket, const Endpoint& remote, PairOrigin origin, Tier tier, Instant start, bool opener);
  /// A new round: its own budget of probes is full again; the session's is not (kProbeBurst).
  void start_round(Instant start);
  /// Everything that is not Valid is probed afresh from `start` on.
  void restart(Instant start, bool opener);
  /// One ping to a place that gets no pair until it answers (birthday search).
  void ping_once(SocketId socket, const Endpoint& remote, std::uint8_t ttl = 0) {
    searches_.push_back({socket, remote, ttl});
  }
  void close_socket(SocketId socket);
  enum class Result : std::uint8_t { NotAProbe, Ignored, Ping, Pong };
  /// `allowed`: the source may be answered. A ping from an unknown place makes a Reflexive pair.
  Result on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, bool allowed, Tier tier,
                     Instant now);
  /// The path in use has stopped delivering.
  void suspect(SocketId socket, const Endpoint& remote, Instant now);
  /// An authentic datagram of the session came over this pair: as good as a pong for its liveness.
  void on_alive(SocketId socket, const Endpoint& remote, Instant now);
  /// Does it still work? A valid pair is pinged at once.
  void ping_now(SocketId socket, const Endpoint& remote, Instant now);
  /// What our interfaces take, as IP packets, by family.
  void set_interface_mtu(std::size_t v4, std::size_t v6, Instant now);
  /// This machine refused to send a datagram of that size there.
  void on_too_big(SocketId socket, const Endpoint& remote, std::size_t size, Instant now);
  /// Datagrams above the base size have stopped arriving there.
  void on_black_hole(SocketId socket, const Endpoint& remote, Instant now);
  void on_timeout(Instant now);
  /// Which pair carries traffic, and whether it is busy: sets the keepalive rate.
  void set_in_use(std::optional<Route> route, bool busy, Instant now);

  // Outputs.
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now);
  std::optional<Instant> next_timeout() const;
  const std::deque<Pair>& pairs() const { return pairs_; }
  const Pair* find(SocketId socket, const Endpoint& remote) const;
  /// Our address as the peer saw it in its last pong.
  const std::optional<Endpoint>& seen_as() const { return seen_as_; }
  const ProberCounters& counters() const { return counters_; }

private:
  struct Ping {
    SocketId socket;
    Endpoint remote;
    std::uint64_t transaction;
    Instant sent_at;
    std::size_t size;
  };
  struct Pong {
    SocketId socket;
    Endpoint to;
    wire::ProbeBody body;
  };
  struct Search {
    SocketId socket;
    Endpoint remote;
    std::uint8_t ttl;
  };
  Pair* find_pair(SocketId socket, const Endpoint& remote);
  void on_ping(SocketId socket, const Endpoint& from, const wire::ProbeBody& body, std::size_t size,
               bool allowed, Tier tier, Instant now);
  bool on_pong(SocketId socket, const Endpoint& from, const wire::ProbeBody& body, Tier tier, Instant now);
  void validate(Pair& pair, Duration sample, Instant now);
  Transmit send_ping(SocketId socket, const Endpoint& remote, std::size_t size, std::uint8_t ttl,
                     ByteSpan out, Instant now);
  std::optional<Transmit> poll_full(ByteSpan out, Instant now);
  void set_limits(Pair& pair, Instant now) const;
  void schedule_next(Pair& pair, Instant now);
  Duration patience(const Pair& pair) const;
  Pair* next_due(Instant now);
  void refill(Instant now);
  Instant next_unproven() const;
  bool in_use(const Pair& pair) const {
    return in_use_ && in_use_->socket == pair.socket && in_use_->remote == pair.remote;
  }

  ProbeCipher cipher_;
  Rng& rng_;
  std::deque<Pair> pairs_;    // at most kMaxPairs; in the order they were learnt
  std::deque<Ping> open_;     // unanswered pings, oldest first, at most kMaxOpenPings
  std::deque<Pong> answers_;  // at most kMaxAnswers
  std::deque<Search> searches_;
  std::optional<Route> in_use_;
  bool busy_ = false;
  Instant next_free_{};  // when the next unproven probe may leave
  std::size_t round_probes_ = 0;
  double credit_ = kProbeBurst;      // unproven probes that may be sent, as of credit_at_
  double full_credit_ = kFullBurst;  // full ones
  std::array<std::size_t, 2> interface_mtu_{kUsualMtu, kUsualMtu};  // IPv4, IPv6
  Instant credit_at_{};
  std::optional<Endpoint> seen_as_;
  ProberCounters counters_;
};

}  // namespace dh::path
