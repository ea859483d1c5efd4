#pragma once

#include <map>
#include <memory>
#include <set>

#include "session/claim_gate.hh"
#include "session/tunnel_link.hh"

namespace dh::session {

/// Names one opener of a share, for as long as it is there. Not used twice in a row.
using PeerId = std::uint32_t;

struct TunnelListenerConfig {
  Token token;
  KeyPair noise_key;
  std::size_t max_clients = 16;
  PathPolicy paths = PathPolicy::Best;
  Duration wait = 15s;
};

struct ClientArrived {
  PeerId peer;
  PublicKey key;
};
/// One of a client's own events. After TunnelEnded its streams are gone; the client itself is gone with
/// ClientGone.
struct ClientEvent {
  PeerId peer;
  TunnelEvent event;
};
/// Everything of this client may be thrown away.
struct ClientGone {
  PeerId peer;
};
using TunnelListenerEvent = std::variant<ClientArrived, ClientEvent, ClientGone>;

/// The sharing side of a tunnel: one token, one gate, any number of openers, each with a link of its own.
/// Pure; the shared contract of cores; the streams are in link(peer)->quic().
class TunnelListener {
public:
  static constexpr Duration kReplaceAfter = 30s;  // silent for this long, a client makes room for another one

  TunnelListener(const TunnelListenerConfig& config, Instant now, Rng& rng);
  ~TunnelListener();

  void on_relay_up(std::size_t relay, Instant now);
  void on_relay_down(std::size_t relay, Instant now);
  void on_relay_writable(std::size_t relay, bool writable);
  void on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now,
                       UnixSeconds wall);
  void on_peer_gone(std::size_t relay, const PublicKey& peer, Instant now);
  void on_timeout(Instant now);
  /// Says goodbye to everybody; nobody new is let in.
  void close(std::string reason, Instant now);

  struct Transmit {
    PeerId peer;  // whose sockets, for a datagram by UDP; 0: nobody's
    Session::Transmit what;
  };
  std::optional<Transmit> poll_transmit(ByteSpan out, Instant now);
  /// As TunnelLink has it, for the client that poll_transmit() served last.
  std::optional<std::size_t> poll_more(ByteSpan out, Instant now);
  std::optional<TunnelListenerEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  TunnelLink* link(PeerId peer);
  std::size_t clients() const { return links_.size(); }
  const GateCounters& gate_counters() const { return gate_.counters(); }
  std::uint64_t unknown_packets() const { return unknown_packets_; }

private:
  void read_gate(Instant now);
  bool make_room(Instant now);
  void read_links();

  TunnelListenerConfig config_;
  Rng& rng_;
  ClaimGate gate_;
  std::map<PeerId, std::unique_ptr<TunnelLink>> links_;
  std::set<PeerId> gone_;  // their last event was told
  PeerId last_served_ = 0;
  std::array<bool, kMaxRelays> up_{}, writable_{};
  std::deque<TunnelListenerEvent> events_;
  std::uint64_t unknown_packets_ = 0;
  bool closing_ = false;
};

}  // namespace dh::session
