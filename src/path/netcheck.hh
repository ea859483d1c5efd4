#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "path/netcheck_report.hh"
#include "wire/stun.hh"

namespace dh::path {

/// Two sockets per family: a mapping belongs to its socket, and a filter can only be tested from a socket
/// that has not sent to where the answer is to come from.
enum class NetcheckSocket : std::uint8_t {
  Main,    // asks every server
  Second,  // asks one server to answer from elsewhere, and plays the neighbour for the hairpin test
};

struct NetcheckConfig {
  struct Family {
    bool usable = false;  // both sockets are open
    std::uint16_t main_port = 0;
    std::uint16_t second_port = 0;
  };
  Family v4, v6;
  std::vector<IpAddress> local_addresses;
  std::size_t relays = 0;
  Duration budget = 3s;
};

/// One check of this host's UDP: who answers, how the NAT maps, filters and counts, and how far away the
/// relays are. Everything runs in parallel, every request is repeated. Pure: no socket, clock or resolver.
/// Contract: after every input, drain poll_transmit; sleep until next_timeout. Finished once
/// is_finished(now); report() may be called at any time. docs/netcheck.md explains each test.
class Netcheck {
public:
  static constexpr std::size_t kMaxServers = 128;    // several times the public relay network
  static constexpr std::size_t kMaxDiscoveries = 4;  // per family: who can answer from elsewhere
  static constexpr std::array<Duration, 4> kRetryAfter{100ms, 150ms, 200ms, 250ms};  // five tries
  static constexpr Duration kPatience = 1s;        // after the last try, where no RTT is known
  static constexpr Duration kMinPatience = 250ms;  // after the last try, for a server that is near
  static constexpr Duration kStartGap = 5ms;       // between two servers' first requests

  Netcheck(NetcheckConfig config, Instant now, Rng& rng);

  struct Transmit {
    NetcheckSocket socket = NetcheckSocket::Main;
    Endpoint to;
    Bytes datagram;
  };
  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t answers = 0;
    std::uint64_t foreign = 0;          // datagrams that answer nothing of ours, or come from elsewhere
    std::uint64_t ignored_servers = 0;  // beyond kMaxServers, or an address that is no server's
  };

  // Inputs.
  /// A STUN server of relay `relay`, known from a map or from DNS. The same endpoint is asked once.
  void add_server(std::size_t relay, const Endpoint& server, Instant now);
  /// No add_server() will follow: the check may end early.
  void no_more_servers() { complete_ = true; }
  void on_datagram(NetcheckSocket socket, const Endpoint& from, ByteView datagram, Instant now);
  /// The system has no way to send there.
  void on_unreachable(const Endpoint& to);
  void on_port_mapping(PortMappingReport mapping) { port_mapping_ = mapping; }
  void on_timeout(Instant now);

  // Outputs.
  std::optional<Transmit> poll_transmit(Instant now);
  std::optional<Instant> next_timeout() const;
  bool is_finished(Instant now) const;
  /// Relays by index, without names and in no order.
  NetcheckReport report() const;
  const Counters& counters() const { return counters_; }

private:
  enum class Kind : std::uint8_t {
    Binding,        // Main, a relay's server
    SecondBinding,  // Second, the first server that answered
    Discovery,      // Second: does this server know OTHER-ADDRESS?
    Alternate,      // Main, the other endpoints of a server that does
    ChangeBoth,     // Second: answer from the other address and port
    ChangePort,     // Second: answer from the other port
    Hairpin,        // to our own mapped endpoint
  };
  // Open --answer--> Answered;  Open --tries and patience used up, or no way there--> Silent
  enum class State : std::uint8_t { Open, Answered, Silent };
  struct Question {
    Kind kind = Kind::Binding;
    State state = State::Open;
    NetcheckSocket socket = NetcheckSocket::Main;
    std::size_t relay = 0;
    Endpoint to;
    Endpoint answers_from;
    Duration patience = kPatience;
    std::size_t tries = 0;
    Instant due;
    std::optional<Instant> asked_at;
    std::optional<Duration> rtt;
    Endpoint mapped;  // Answered: what the server saw (Hairpin: nothing)
  };
  struct Sent {
    std::size_t question = 0;
    Instant at;
  };
  struct Family {
    std::size_t discoveries = 0;
    bool second_started = false, behaviour_started = false, hairpin_started = false;
    std::size_t unreachable = 0, sent = 0;
  };

  Question& ask(Kind kind, NetcheckSocket socket, const Endpoint& to, Instant due);
  void on_answer(std::size_t index, ByteView datagram, Duration rtt, Instant now);
  void on_request(NetcheckSocket socket, const wire::stun::TransactionId& id);
  void after_binding(std::size_t relay, const Endpoint& server, Duration rtt, Instant now);
  void start_behaviour(const Endpoint& server, const Endpoint& other, Duration rtt, Instant now);
  void start_hairpin(bool v6, Instant now);
  std::optional<Endpoint> mapped_of(NetcheckSocket socket, bool v6) const;
  const Question* find(Kind kind, bool v6) const;
  FamilyReport report_family(bool v6) const;
  FilteringEvidence filtering_evidence(bool v6) const;
  std::optional<bool> other_ports(bool v6) const;
  const NetcheckConfig::Family& family_config(bool v6) const { return v6 ? config_.v6 : config_.v4; }
  Family& family(bool v6) { return families_[v6 ? 1 : 0]; }

  NetcheckConfig config_;
  Rng& rng_;
  Instant started_;
  Instant next_start_;
  bool complete_ = false;
  std::array<Family, 2> families_;  // IPv4, IPv6
  std::vector<Question> questions_;
  std::map<wire::stun::TransactionId, Sent> sent_;
  std::optional<PortMappingReport> port_mapping_;
  Counters counters_;
};

}  // namespace dh::path
