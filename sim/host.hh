#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "derp/client_core.hh"
#include "session/session.hh"
#include "sim/host_udp.hh"
#include "sim/relay.hh"
#include "sim/world.hh"

namespace dh::sim {

/// What goes wrong with single packets between two hosts, as a bad or hostile relay would do it.
/// Probabilities.
struct PacketFaults {
  double drop = 0, duplicate = 0, corrupt = 0, forge = 0, replay = 0;
  double delay = 0;  // chance that a packet is held back by up to max_delay: reordering
  Duration max_delay = 50ms;
};

/// A repeatable stream of bytes: what was sent, and what must arrive.
class Content {
public:
  Content(std::uint64_t seed, std::uint64_t size) : seed_(seed), size_(size) {}
  std::uint64_t size() const { return size_; }
  void fill(std::uint64_t offset, ByteSpan out) const;
  bool matches(std::uint64_t offset, ByteView bytes) const;

private:
  std::uint64_t seed_, size_;
};

struct HostOptions {
  session::SessionConfig session;
  PacketFaults faults;                // on what arrives here
  double read_bytes_per_second = 0;   // receiving: 0 = as fast as it comes
  Duration write_interval = 5ms;      // with the next
  double write_bytes_per_second = 0;  // sending: 0 = as fast as the session takes it
  std::uint32_t messages = 0;         // to the peer's application, beside the stream: 0, 1, 2, ...
  std::optional<UdpOptions> udp;      // without it, relays are all there is
};

/// What a host's user would see of its paths.
struct PathLog {
  std::optional<Instant> first_direct_at, last_direct_at;  // direct came into use
  std::uint64_t direct_ups = 0, direct_losses = 0;
  std::optional<path::Route> direct;  // in use now
  std::string last_loss;              // why
  std::vector<Endpoint> remotes;      // every one that was ever in use, in order
};

/// One end of a session: the real session core and real relay client cores, with a simulated application.
class Host {
public:
  Host(World& world, std::vector<Relay*> relays, const HostOptions& options, const Content& content);

  void start();
  void freeze(Duration duration);  // the process does not run; what arrives waits
  void cancel(const std::string& reason);
  /// From now on no packet of the peer reaches this host, as if a relay dropped them all.
  void set_deaf(bool on) { deaf_ = on; }
  /// Sending: from now on as fast as the session takes it.
  void hurry();
  /// As if its threads had their hands full.
  void want_lane();
  std::size_t lanes() const { return session_.counters().lanes; }
  /// The system says that this host's addresses have changed.
  void network_changed();

  const std::optional<session::SessionEnded>& ended() const { return ended_; }
  bool claimed() const { return claimed_at_.has_value(); }
  std::optional<Instant> claimed_at() const { return claimed_at_; }
  std::optional<Instant> first_byte_at() const { return first_byte_at_; }
  std::optional<Instant> ended_at() const { return ended_at_; }
  std::optional<Instant> first_relay_up_at() const { return relay_up_at_; }
  std::uint64_t received() const { return stream_offset_; }
  bool content_wrong() const { return content_wrong_; }
  /// Of the peer's messages, how many came; content_wrong() says when one was not the next.
  std::uint32_t messages_received() const { return messages_received_; }
  const PathLog& path_log() const { return path_log_; }
  /// Receiving: the longest time between two reads that brought something, since the last reset.
  Duration longest_gap() const;
  void reset_gap() {
    longest_gap_ = Duration::zero();
    last_read_at_ = world_.now();
  }
  session::SessionCounters counters() const { return session_.counters(); }
  session::Session& session() { return session_; }

private:
  struct Port {
    std::optional<derp::ClientCore> core;
    std::uint64_t connection = 0;
    std::uint32_t generation = 0;
    int failures = 0;
    bool started = false;
  };
  void connect(std::size_t relay);
  void on_stream_bytes(std::size_t relay, std::uint32_t generation, ByteView bytes);
  void on_closed(std::size_t relay, std::uint32_t generation);
  void deliver(std::size_t relay, const PublicKey& from, Bytes packet);
  void packet_arrived(std::size_t relay, const PublicKey& from, ByteView packet);
  void drain_client(std::size_t relay);
  void turn();
  void run_application();
  void write_application();
  bool send_messages();
  void transmit();
  void read_events();
  void arm();
  void when_awake(std::function<void()> what);

  World& world_;
  std::vector<Relay*> relays_;
  HostOptions options_;
  const Content& content_;
  session::Session session_;
  std::array<Port, session::kMaxRelays> ports_;
  std::vector<std::pair<PublicKey, Bytes>> history_;  // for replay faults
  Bytes packet_;
  std::uint64_t openers_version_ = 0;
  std::vector<std::shared_ptr<bulk::AheadOpener>> openers_;  // what a shell with a receive thread would have
  Instant frozen_until_{};
  std::optional<Instant> armed_, claimed_at_, first_byte_at_, ended_at_, relay_up_at_;
  std::optional<HostUdp> udp_;
  PathLog path_log_;
  Instant reader_free_{}, writer_free_{};
  std::optional<Instant> last_read_at_;
  Duration longest_gap_{};
  std::uint64_t stream_offset_ = 0;
  std::uint32_t messages_sent_ = 0, messages_received_ = 0;
  std::optional<session::SessionEnded> ended_;
  bool finished_ = false, readable_end_ = false, deaf_ = false, confirmed_ = false, content_wrong_ = false;
};

}  // namespace dh::sim
