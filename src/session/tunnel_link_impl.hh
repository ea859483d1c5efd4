#pragma once

// The inside of TunnelLink, private to tunnel_link*.cc: tunnel_link.cc is the public face and what comes in,
// tunnel_link_paths.cc moves the connection between relay and direct path, tunnel_link_traffic.cc is what
// leaves, when, and the end.

#include <deque>

#include "session/limits.hh"
#include "session/relay_set.hh"
#include "session/tunnel_link.hh"

namespace dh::session {

struct TunnelLink::Impl {
  enum class State : std::uint8_t { Open, Closing, Ended };  // diagram in tunnel_link.hh

  Impl(const TunnelLinkConfig& config_in, const SessionKeys& keys, ControlChannel channel, Instant now,
       Rng& rng);

  // tunnel_link.cc
  void relay_packet(std::size_t relay, ByteView bytes, Instant now);
  void heard_on_relay(std::size_t relay, Instant now);
  void heard(Instant now);
  void read_control(Instant now);

  // tunnel_link_paths.cc
  void udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan bytes, Instant now);
  void heard_direct(path::SocketId socket, const Endpoint& from, Instant now);
  void read_paths(Instant now);
  void use_direct(const path::Route& route, Instant now);
  void leave_direct(const std::string& why, Instant now);
  void relay_changed(Instant now);
  void watch_connection(Instant now);

  // tunnel_link_traffic.cc
  void timeout(Instant now);
  void watch_peer(Instant now);
  void connection_closed(Instant now);
  std::optional<Instant> next_timeout() const;
  std::optional<Session::Transmit> transmit(ByteSpan out, Instant now);
  std::optional<Session::Transmit> transmit_control(ByteSpan out, Instant now);
  std::optional<Session::Transmit> transmit_quic(ByteSpan out, Instant now);
  std::optional<std::size_t> transmit_more(ByteSpan out, Instant now);
  void close(std::string reason, Instant now);
  void end(TunnelEnd how, std::string reason = {});
  void ping(Instant now);
  std::optional<Instant> last_heard() const;
  std::optional<Instant> due_since() const;
  bool quic_has_way() const;
  bool needs_direct() const { return config.paths == PathPolicy::RequireDirect; }
  const PublicKey& peer() const { return config.dialer ? config.listener_derp : config.dialer_derp; }

  TunnelLinkConfig config;
  ControlChannel control;
  RelaySet relays;
  std::optional<path::PathFinder> paths;
  quic::Connection quic;
  State state = State::Open;
  std::array<bool, kMaxRelays> writable{};
  std::optional<path::Route> direct;  // in use
  std::optional<std::size_t> told_relay;
  std::optional<Instant> direct_heard, direct_deadline, goodbye_until, silent_since;
  path::SocketId heard_socket = 0;  // what direct_heard was heard on
  Endpoint heard_from;
  std::deque<TunnelEvent> events;
  std::deque<wire::SessionMsg> messages;
  std::deque<std::pair<std::size_t, Bytes>> copies;  // control packets for the other relays
  unsigned probes_seen = 0;                          // of the connection, unanswered, already acted on
  bool want_others = false, saying_goodbye = false;
  bool only_quic = false;  // nothing else has had anything to send since the last input
  Instant started;
  TunnelCounters counters;
};

}  // namespace dh::session
