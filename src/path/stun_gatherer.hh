#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/rng.hh"
#include "path/route.hh"
#include "wire/session_msg.hh"
#include "wire/stun.hh"

namespace dh::path {

/// What our sockets look like from outside: asks STUN servers from the very sockets that carry the session,
/// because a mapping belongs to its socket. Pure.
///
/// Per socket and server: Asking --answer--> Known --20..26 s--> Asking; three tries without answer: Silent,
/// until the next round.
class StunGatherer {
public:
  explicit StunGatherer(Rng& rng) : rng_(rng) {}

  // Inputs.
  void add_server(const Endpoint& server, Instant now);
  void open_socket(SocketId socket, bool is_v6, Instant now);
  void close_socket(SocketId socket);
  /// True when it was an answer to a question of ours: from the asked server, to the asking socket, with its
  /// transaction id.
  bool on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, Instant now);
  /// Everything may have changed: ask all again now.
  void refresh(Instant now);

  // Outputs.
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now);
  std::optional<Instant> next_timeout() const;

  /// Addresses of this socket as seen by the servers, each once, in the order they were asked.
  std::vector<Endpoint> mapped(SocketId socket) const;
  /// Needs answers of two servers with different addresses; Unknown otherwise.
  wire::MappingBehaviour mapping(SocketId socket) const;
  /// Sequential mapping: the ports its NAT will probably use for the next destinations.
  std::vector<Endpoint> predicted(SocketId socket, std::size_t count) const;
  /// No question is open: every server answered or was given up.
  bool settled(SocketId socket) const;
  bool any_answer() const;
  std::size_t servers() const { return servers_.size(); }
  /// True once after a mapped address appeared or changed.
  bool take_changed() { return std::exchange(changed_, false); }
  /// Round trip to the nearest server that answered.
  std::optional<Duration> rtt() const { return rtt_; }

private:
  struct Query {
    Query(SocketId from, const Endpoint& to, Instant when) : socket(from), server(to), due(when) {}
    SocketId socket;
    Endpoint server;
    std::optional<wire::stun::TransactionId> id;  // open question
    std::size_t tries = 0;
    unsigned silences = 0;  // questions given up since the last answer
    Instant due{};          // to ask, or to ask again
    Instant asked_at{};
    std::uint64_t order = 0;  // of the first question, per socket: a NAT that counts numbers destinations so
    std::optional<Endpoint> mapped;
  };
  std::vector<const Query*> answered(SocketId socket) const;
  std::optional<int> stride(SocketId socket) const;

  Rng& rng_;
  std::vector<Endpoint> servers_;
  std::map<SocketId, bool> sockets_;  // -> is IPv6
  std::vector<Query> queries_;        // sockets times servers of their family
  std::optional<Duration> rtt_;
  bool changed_ = false;
};

}  // namespace dh::path
