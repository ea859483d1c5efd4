#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string_view>
#include <variant>

#include "base/rng.hh"
#include "path/gateway_epoch.hh"
#include "wire/nat_pmp.hh"
#include "wire/pcp.hh"

namespace dh::path {

/// Who made a mapping. Better first: PCP tells refusals apart and proves who asks, UPnP is the slowest.
enum class MappingProtocol : std::uint8_t { Pcp, NatPmp, Upnp };
std::string_view to_string(MappingProtocol protocol);

struct PortMapperConfig {
  IpAddress gateway;                // the default one of its family
  IpAddress local;                  // ours towards it, of the same family
  std::uint16_t internal_port = 0;  // UDP
};

/// What is known of the gateway's protocols, for diagnosis. Kept until the gateway changes.
struct GatewayPresence {
  bool pcp = false, nat_pmp = false, upnp = false;  // answered at all, be it with a refusal
  std::optional<wire::pcp::Result> pcp_result;      // last one of a MAP
  std::optional<wire::nat_pmp::Result> nat_pmp_result;
  std::optional<IpAddress> nat_pmp_address;  // outer address as told, absurd ones too
  std::optional<GatewayEpoch::Seconds> pcp_epoch, nat_pmp_epoch;
};

/// Gets one UDP port of this host forwarded by its default gateway and keeps it so: PCP, NAT-PMP where it is
/// silent, UPnP (spoken by the shell) where neither helps. An IPv6 gateway is asked for a pinhole, by PCP
/// alone; it takes an instance of its own. Pure. Contract: after every input drain poll_transmit and
/// poll_event, then sleep until next_timeout(). A mapping is a gateway's word, no more: it counts once a peer
/// came in by it. Spec: docs/protocol/port-mapping.md.
class PortMapper {
public:
  static constexpr std::array<Duration, 3> kBurstWait = {250ms, 350ms, 400ms};  // three tries in a second
  static constexpr Duration kPcpGrace = 100ms;   // for PCP, when NAT-PMP has answered first
  static constexpr Duration kLease = 7200s;      // asked for: RFC 6886 §3.3; a crash leaves little behind
  static constexpr Duration kMinLifetime = 8s;   // shorter grants would make us ask without pause
  static constexpr Duration kMaxLifetime = 24h;  // longer grants are absurd
  static constexpr Duration kRenewGap = 4s;      // between two renewals and two re-creations
  static constexpr Duration kUpnpRenew = 600s;   // UPnP has no epoch; renewing is how a restart shows
  static constexpr Duration kUpnpPatience = 6s;  // for the shell's answer
  static constexpr Duration kCheckEvery = 60s;   // one small question whose answer carries the epoch
  static constexpr Duration kAskAgain = 600s;    // a gateway that gave nothing
  static constexpr Duration kMinAskAgain = 30s;  // what it may shorten that to
  static constexpr std::array<Duration, 5> kAskAfterLoss = {5s, 15s, 30s, 60s, 120s};  // it may be booting
  static constexpr std::array<Duration, 2> kCloseWait = {100ms, 200ms};  // one repetition of the deletion

  struct Mapped {  // replaces what was mapped before
    Endpoint external;
    MappingProtocol protocol = MappingProtocol::Pcp;
    Duration lifetime{};
    bool operator==(const Mapped&) const = default;
  };
  enum class LostReason : std::uint8_t {
    Expired,           // renewals were not answered or refused
    GatewayRestarted,  // its epoch says so; asked for again at once
    GatewayChanged,    // or our address towards it
  };
  struct Lost {
    LostReason why = LostReason::Expired;
    bool operator==(const Lost&) const = default;
  };
  /// Nothing helped for now; asked again later.
  struct Unavailable {
    bool operator==(const Unavailable&) const = default;
  };
  /// The shell shall make or renew a mapping by UPnP and say on_upnp_mapped() or on_upnp_failed().
  struct UpnpWanted {
    std::uint16_t internal_port = 0;
    std::uint16_t external_port = 0;  // wished for
    Duration lease{};
    bool operator==(const UpnpWanted&) const = default;
  };
  using Event = std::variant<Mapped, Lost, Unavailable, UpnpWanted>;

  struct Transmit {
    Endpoint to;
    Bytes datagram;
  };
  struct Counters {
    std::uint64_t sent = 0, received = 0;
    std::uint64_t foreign = 0;     // not from the gateway's port 5351
    std::uint64_t malformed = 0;   // not a message of either protocol
    std::uint64_t mismatched = 0;  // another nonce, protocol or port, or nothing that was asked
    std::uint64_t refused = 0;     // results other than success
    std::uint64_t absurd = 0;      // grants of no use: an impossible outer address or port, no lifetime
    std::uint64_t renewed = 0, restarts = 0;
  };

  /// `rng` for nonces: unguessable.
  PortMapper(const PortMapperConfig& config, Instant now, Rng& rng);

  // Inputs.
  void on_datagram(const Endpoint& from, ByteView datagram, Instant now);
  /// The gateway's host said that nobody is at port 5351.
  void on_port_unreachable(Instant now);
  void on_upnp_seen() { presence_.upnp = true; }
  /// lease 0: until somebody deletes it.
  void on_upnp_mapped(const Endpoint& external, Duration lease, Instant now);
  void on_upnp_failed(Instant now);
  /// Another gateway, or another address of ours towards the same one: what was mapped leads nowhere.
  void on_gateway_changed(const IpAddress& gateway, const IpAddress& local, Instant now);
  void on_local_address_changed(const IpAddress& local, Instant now) {
    on_gateway_changed(config_.gateway, local, now);
  }
  void on_timeout(Instant now);
  /// Deletes what PCP and NAT-PMP granted; the shell deletes what UPnP did.
  void close(Instant now);

  // Outputs.
  std::optional<Transmit> poll_transmit();
  std::optional<Event> poll_event();
  std::optional<Instant> next_timeout() const;
  /// After close(): every deletion is confirmed, or nothing is worth waiting for any more.
  bool is_closed() const { return state_ == State::Closed; }
  const std::optional<Mapped>& mapping() const { return mapping_; }
  GatewayPresence presence() const;
  const Counters& counters() const { return counters_; }

private:
  //               +-- grant ----------------------------------> Mapped --half life--> Renewing
  //   Asking -----+                                            ^   ^------- grant -------+
  //     ^         +-- refused or silent --> AskingUpnp --made--+   (Mapped, Renewing) --lost--> Asking
  //     |                                       | failed
  //     +----- later, or it restarted ---- Unavailable          any --close()--> Closing --> Closed
  enum class State : std::uint8_t {
    Asking,      // bursts to PCP and NAT-PMP
    AskingUpnp,  // the shell was asked; skipped for IPv6
    Mapped,      // mapping_ is set
    Renewing,    // mapping_ is set and still valid, its renewal was asked for
    Unavailable,
    Closing,  // deletions are under way
    Closed,
  };
  enum Timer : std::size_t { Burst, Settle, Renew, Expire, Check, AskAgain, kTimers };
  // How one of the gateway's servers stands in this round of asking.
  enum class Answer : std::uint8_t { Open, Granted, Refused };

  void ask(Instant now);
  void send_burst(Instant now);
  void turn_to_nat_pmp(Instant now);
  void give_up_asking(Instant now);
  void become_unavailable(Instant now);
  void renew(Instant now);
  void adopt(const Endpoint& external, MappingProtocol protocol, Duration lifetime, Instant now);
  void lose(LostReason why);
  void on_restart(Instant now);
  void on_expired(Instant now);
  void on_nat_pmp(const wire::nat_pmp::Reply& reply, Instant now);
  void on_nat_pmp_map(const wire::nat_pmp::MapReply& reply, Instant now);
  void on_pcp(const wire::pcp::Reply& reply, Instant now);
  void on_pcp_map(const wire::pcp::Reply& reply, Instant now);
  void on_refusal(Answer& answer, Duration for_how_long, Instant now);
  void settle_nat_pmp(Instant now);
  void finish_deletion();
  void send_pcp(std::optional<Duration> map_lifetime);
  void send_nat_pmp_map(Duration lifetime);
  void send_nat_pmp_address();
  template <typename Message>
  void send(const Message& message);
  bool is_asked() const;
  bool is_v4() const { return config_.gateway.is_v4(); }

  PortMapperConfig config_;
  Rng& rng_;
  State state_ = State::Asking;
  std::array<std::optional<Instant>, kTimers> timers_;
  std::size_t bursts_ = 0;  // sent in this round of asking, renewing or closing
  Answer pcp_ = Answer::Open, nat_pmp_ = Answer::Open;
  Duration ask_again_ = kAskAgain;
  std::size_t losses_ = kAskAfterLoss.size();  // rounds since a mapping was lost; the end: there was none
  std::optional<Instant> recreated_at_;

  wire::pcp::Nonce nonce_{};
  std::uint16_t external_wish_ = 0;
  std::optional<IpAddress> nat_pmp_address_;  // of this round
  std::optional<wire::nat_pmp::MapReply> nat_pmp_map_;
  std::optional<Mapped> mapping_;
  struct {
    bool pcp = false, nat_pmp = false;
  } held_;  // by whom the gateway may hold a mapping of ours, to be deleted at the end

  GatewayPresence presence_;
  GatewayEpoch pcp_epoch_, nat_pmp_epoch_;
  std::deque<Transmit> transmits_;
  std::deque<Event> events_;
  Counters counters_;
};

/// Whether a gateway may say that this is our outer address. Private and shared (100.64/10) ones are fine:
/// a peer behind the same outer NAT reaches them.
bool is_usable_external(const Endpoint& external, bool want_v4);

}  // namespace dh::path
