#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "path/path_finder.hh"
#include "quic/connection.hh"
#include "session/control_channel.hh"
#include "session/session.hh"

namespace dh::session {

struct TunnelLinkConfig {
  bool dialer = false;
  std::vector<RelayRef> relays;  // the token's
  PublicKey dialer_derp, listener_derp;
  PathPolicy paths = PathPolicy::Best;
  Duration wait = 15s;                  // RequireDirect: for a direct path
  std::optional<Duration> control_rtt;  // of the relay in use, where it is known
  quic::Controller controller = quic::Controller::Bbr;
};

/// How a link is over.
enum class TunnelEnd : std::uint8_t {
  ClosedByUs,
  ClosedByPeer,  // it said goodbye
  NetworkLost,   // nothing heard for kPeerSilenceLimit
  NoDirectPath,  // one was required and none was found within the wait
  Broken,        // the peer broke QUIC's rules
  Replaced,      // silent for long, and somebody else wanted the place
};
std::string_view to_string(TunnelEnd end);

struct TunnelEnded {
  TunnelEnd end;
  std::string reason;  // the peer's words; printable() before showing
};
using TunnelEvent = std::variant<RelayInUse, DirectInUse, DirectLost, OpenSockets, CloseSockets, PeerSilent,
                                 PeerBack, TunnelEnded>;

struct TunnelCounters {
  quic::Counters quic;
  std::uint64_t relay_bytes = 0, direct_bytes = 0;  // of QUIC, sent and received
  std::uint64_t direct_switches = 0;                // to a direct path and back
  std::uint64_t unknown_packets = 0;
};

/// One opener and its share, once the handshake gave them keys: control channel, relays, path finder, and the
/// QUIC connection that carries the streams over whatever path is in use. Both ends are made of this. Pure;
/// the shared contract of cores, and the streams are the caller's: it drains quic() as well. Spec:
/// docs/protocol/session.md, "Tunnels".
///
///   Open --close()--> Closing --peer has heard, or kGoodbyeLimit--> Ended
///     +--goodbye of the peer, silence, no direct path, QUIC broken--> Ended
class TunnelLink {
public:
  TunnelLink(const TunnelLinkConfig& config, const SessionKeys& keys, ControlChannel channel, Instant now,
             Rng& rng);
  ~TunnelLink();

  void on_relay_up(std::size_t relay, Instant now);
  void on_relay_down(std::size_t relay, Instant now);
  void on_relay_writable(std::size_t relay, bool writable);
  /// Control and QUIC datagrams of this peer.
  void on_relay_packet(std::size_t relay, ByteView packet, Instant now);
  void on_peer_gone(std::size_t relay, Instant now);
  /// The peer sends through this relay.
  void follow_relay(std::size_t relay, Instant now);
  void on_udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan datagram, Instant now);
  void on_timeout(Instant now);

  /// Says goodbye, at most for kGoodbyeLimit.
  void close(std::string reason, Instant now);
  /// Over at once, without a word.
  void drop(TunnelEnd end);

  std::optional<Session::Transmit> poll_transmit(ByteSpan out, Instant now);
  /// The size of one more datagram for where the last one went by UDP, while nothing but the connection has
  /// something to send. nullopt: ask poll_transmit().
  std::optional<std::size_t> poll_more(ByteSpan out, Instant now);
  std::optional<TunnelEvent> poll_event();
  std::optional<wire::SessionMsg> poll_message();  // what is not the link's own business: the claim's answer
  std::optional<Instant> next_timeout() const;

  quic::Connection& quic();
  const quic::Connection& quic() const;
  /// nullptr with ForceRelay. To whoever keeps it: what it is told takes effect with the next input of the
  /// link, on_timeout() for one.
  path::PathFinder* paths();
  const PublicKey& peer() const;
  bool wants_other_relays() const;  // the one in use may be deaf
  bool is_ended() const;
  /// Neither ended nor saying goodbye.
  bool is_open() const;
  std::optional<Duration> silent_for(Instant now) const;  // since something was due and did not come
  bool is_direct() const;
  TunnelCounters counters() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dh::session
