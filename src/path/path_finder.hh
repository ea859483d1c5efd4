#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "path/birthday_search.hh"
#include "path/destination_filter.hh"
#include "path/prober.hh"
#include "path/route_choice.hh"
#include "path/stun_gatherer.hh"
#include "wire/session_msg.hh"

namespace dh::path {

struct PathConfig {
  bool dialer = false;         // starts the attempts
  bool loopback_peer = false;  // the session's relay is on this machine
};

/// The best direct path is another one now.
struct RouteUp {
  Route route;
};
/// More or less passes over it than the last RouteUp or RouteSize said.
struct RouteSize {
  std::size_t datagram_bytes;
};
/// There is none any more.
struct RouteDown {
  std::string why;  // a clause for people
};
/// Traffic over the route has stopped coming. Perhaps there is none; perhaps a NAT between has forgotten us,
/// then whatever is sent now, over the relay too, makes it remember.
struct RouteQuiet {};
/// The shell should open `count` UDP sockets (IPv4, any port) with these numbers, and say on_socket_open for
/// each.
struct OpenSockets {
  SocketId first;
  std::size_t count;
};
struct CloseSockets {
  SocketId first;
  std::size_t count;
};
using PathEvent = std::variant<RouteUp, RouteSize, RouteDown, RouteQuiet, OpenSockets, CloseSockets>;

/// What is known about why there is no direct path, for one sentence to the person.
struct Obstacle {
  bool no_socket = false;      // not even an interface with an address
  bool stun_silent = false;    // servers were asked and none answered: UDP seems blocked here
  bool peer_has_none = false;  // the peer named no address from outside
  bool stalls = false;         // small pings pass, but full ones or data do not
  wire::MappingBehaviour ours = wire::MappingBehaviour::Unknown;
  wire::MappingBehaviour peers = wire::MappingBehaviour::Unknown;
};

/// Finds, keeps and mends the direct path of one session while its relay carries the traffic. Introduces the
/// parts to each other: StunGatherer (our addresses), Prober (which pairs work, and for which sizes:
/// MtuSearch), RouteChoice (which is used), BirthdaySearch. Pure; contract: after every input drain
/// poll_call, poll_transmit and poll_event, then sleep until next_timeout(). Spec: docs/protocol/paths.md.
///
///   Gathering --start() and first list--> Attempt --full pong--> Connected --lost--> Attempt
///                                           | ^
///                          nothing worked   v |  5 s, 15 s, 60 s; network change; peer's list
///                                          Resting
class PathFinder {
public:
  PathFinder(const PathConfig& config, Instant now, Rng& rng);

  // Our side of the network.
  void on_socket_open(SocketId socket, bool is_v6, std::uint16_t port, Instant now);
  void on_socket_failed(SocketId socket, Instant now);
  /// What this machine's interfaces have. When it is news, on_network_changed follows.
  void on_local_addresses(std::vector<LocalAddress> addresses);
  void add_stun_server(const Endpoint& server, Instant now) { gatherer_.add_server(server, now); }
  /// What the gateway of that family forwards to our plain socket; empty: nothing any more.
  void on_port_mapping(bool v6, std::optional<Endpoint> external);
  void on_network_changed(Instant now);

  // The session.
  void start(const ProbeKeys& keys, Instant now);  // once, after the handshake
  void on_call(const wire::CallMeMaybe& call, Instant now);
  void on_control_rtt(Duration rtt) { control_rtt_ = rtt; }
  /// Payload or acknowledgements were sent or received on any path.
  void on_traffic(Instant now);
  /// What was sent over the current route is not acknowledged: leave it now.
  void on_stalled(Instant now);
  /// It delivers, but the relay delivers more: it rests (kPoorRest).
  void on_poor(Instant now);
  /// The relay turned out to be no better: what rests may be chosen again.
  void on_relay_poor(Instant now);
  /// Over the current route, small datagrams arrive and those above the base size do not any more.
  void on_black_hole(Instant now);

  // Datagrams.
  /// True: it was a probe or a STUN answer.
  bool on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, Instant now);
  /// An authentic datagram of the session came from there.
  void on_peer_datagram(SocketId socket, const Endpoint& from, Instant now);
  /// The system refused to send (no route, firewall).
  void on_send_failed(SocketId socket, const Endpoint& to, Instant now);
  /// The system refused to send a datagram of that size (EMSGSIZE).
  void on_too_big(SocketId socket, const Endpoint& to, std::size_t size, Instant now);

  void on_timeout(Instant now);
  std::optional<wire::CallMeMaybe> poll_call(Instant now);
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now);
  std::optional<PathEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  const std::optional<Route>& current() const { return choice_.current(); }
  Obstacle obstacle() const;
  bool loopback_peer() const { return config_.loopback_peer; }
  std::uint64_t switches() const { return choice_.switches(); }
  const ProberCounters* probe_counters() const { return prober_ ? &prober_->counters() : nullptr; }

private:
  struct Socket {
    SocketId id;
    bool is_v6;
    std::uint16_t port;
  };
  enum class Phase : std::uint8_t { Gathering, Attempt, Connected, Resting };

  // path_finder.cc
  void update_choice(Instant now, const char* why);
  bool gathered(Instant now) const;
  Tier tier_of(const Endpoint& remote) const;
  SocketId plain_socket(const Endpoint& remote) const;
  bool has_socket(SocketId id) const;
  bool has_valid_pair() const;
  bool has_carrying_pair() const;
  void learn_reflexive();
  void tell_interface_mtu(Instant now);

  // punching.cc
  void begin_attempt(wire::PunchMode mode, Instant now);
  void follow_attempt(Instant now);
  void take_call(Instant now);
  std::optional<Instant> call_turn() const;
  void probe_peer(Instant start);
  void next_attempt(Instant now);
  void rest(Instant now);
  std::optional<BirthdaySearch::Role> birthday_role() const;
  bool may_search(Instant now) const;
  void start_birthday(Instant start);
  void drop_extra_sockets(bool keep_current);
  wire::CallMeMaybe make_call();
  std::vector<wire::Candidate> candidates() const;
  bool list_ready(Instant now) const;
  wire::MappingBehaviour own_mapping() const;

  PathConfig config_;
  Rng& rng_;
  Instant created_;
  StunGatherer gatherer_;
  DestinationFilter filter_;
  std::optional<Prober> prober_;  // from start() on
  RouteChoice choice_;
  std::optional<BirthdaySearch> birthday_;
  Phase phase_ = Phase::Gathering;

  std::vector<Socket> sockets_;
  std::vector<LocalAddress> local_;
  std::array<std::optional<Endpoint>, 2> mapped_;  // by the gateways, IPv4 and IPv6
  std::optional<Route> announced_;                 // what the last RouteUp said

  std::uint32_t attempt_ = 0, round_ = 0;
  wire::PunchMode mode_ = wire::PunchMode::Plain;
  bool call_due_ = false;              // our list is to be sent
  bool list_may_differ_ = false;       // something was heard since it was last compared with what was sent
  std::optional<Instant> mode_until_;  // of the running attempt
  std::optional<Instant> retry_at_;
  std::size_t retries_ = 0;
  std::optional<wire::CallMeMaybe> peer_;          // its last list
  std::optional<wire::CallMeMaybe> waiting_call_;  // a newer one that came too early
  std::uint32_t probed_attempt_ = 0;               // the attempt whose probing has begun
  std::vector<wire::Candidate> sent_candidates_;
  SocketId next_socket_ = kFirstExtraSocket;
  SocketId fresh_socket_ = 0;  // of this attempt; 0: none
  Instant fresh_opened_{};
  unsigned birthdays_ = 0;
  std::optional<Instant> last_birthday_;
  double call_credit_ = kCallBurst;
  Instant call_credit_at_{};
  std::optional<Duration> control_rtt_;
  std::optional<Instant> last_traffic_;
  Instant route_heard_{};            // something authentic came over the route in use
  std::optional<Instant> quiet_at_;  // when the route counts as quiet unless something comes
  bool busy_ = false;
  std::deque<PathEvent> events_;
};

}  // namespace dh::path
