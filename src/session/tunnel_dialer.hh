#pragma once

#include "session/initiator.hh"
#include "session/relay_set.hh"
#include "session/tunnel_link.hh"

namespace dh::session {

struct TunnelDialerConfig {
  Token token;
  KeyPair derp_key;
  Duration wait = 15s;  // how long the share may take to answer
  PathPolicy paths = PathPolicy::Best;
};

struct DialerOpen {};  // the share said yes
struct DialFailed {
  SessionEnd end;  // Rejected, NobodyThere, NoRelay, TokenRefused, ListenerSilent or Expired
  std::optional<RejectReason> reject;
};
using TunnelDialerEvent = std::variant<DialerOpen, DialFailed, TunnelEvent>;

/// The opening side of a tunnel: knocks at the token's listener, then has one link to it. Pure; the shared
/// contract of cores; the streams are in link()->quic().
///
///   Meeting --M2--> (link exists, streams may be opened) --yes--> Open --TunnelEnded--> Ended
///      +--wait over, refused, rejected, expired--> Failed
class TunnelDialer {
public:
  TunnelDialer(const TunnelDialerConfig& config, Instant now, UnixSeconds wall, Rng& rng);
  ~TunnelDialer();

  void on_relay_up(std::size_t relay, Instant now);
  void on_relay_down(std::size_t relay, Instant now);
  void on_relay_writable(std::size_t relay, bool writable);
  void on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now);
  void on_peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason, Instant now);
  bool wants_relay(std::size_t relay) const;
  void on_timeout(Instant now, UnixSeconds wall);
  void close(std::string reason, Instant now);

  std::optional<Session::Transmit> poll_transmit(ByteSpan out, Instant now);
  std::optional<std::size_t> poll_more(ByteSpan out, Instant now);  // as TunnelLink has it
  std::optional<TunnelDialerEvent> poll_event();
  std::optional<Instant> next_timeout() const;

  TunnelLink* link() { return link_.get(); }
  bool is_over() const { return state_ == State::Failed || (link_ && link_->is_ended()); }

private:
  enum class State : std::uint8_t { Meeting, Open, Failed };  // diagram above; Ended is the link's

  void knock(std::size_t relay, Instant now);
  void read_initiator(std::size_t relay, Instant now);
  void read_link(Instant now);
  void fail(SessionEnd end, std::optional<RejectReason> reject = std::nullopt);

  TunnelDialerConfig config_;
  Rng& rng_;
  State state_ = State::Meeting;
  std::array<std::optional<Initiator>, kMaxRelays> initiators_;
  std::unique_ptr<TunnelLink> link_;
  std::array<bool, kMaxRelays> up_{}, writable_{};
  std::deque<TunnelDialerEvent> events_;
  Instant started_;
  std::optional<Instant> give_up_;
  UnixSeconds last_wall_;
  bool want_others_ = false, heard_absent_ = false, ever_up_ = false;
};

}  // namespace dh::session
