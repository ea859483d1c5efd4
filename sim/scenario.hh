#pragma once

#include <string>
#include <vector>

#include "sim/host.hh"

namespace dh::sim {

/// One `listen`/`pipe` session in a simulated world, with what goes wrong in it.
struct Scenario {
  std::uint64_t seed = 1;
  std::uint64_t bytes = 64 << 10;
  std::size_t relay_count = 1;
  LinkModel link;
  PacketFaults faults;  // on both hosts
  double read_bytes_per_second = 0;
  std::uint32_t listener_messages = 0;  // beside the stream, against its direction
  std::vector<Duration> relay_kills;    // relay 0 dies then ...
  Duration relay_down_for = 500ms;      // ... and comes back after this; zero: never
  std::vector<Duration> host_freezes;   // alternately dialer and listener
  Duration freeze_for = 300ms;
  Duration listener_deaf_for{};       // from the moment the dialer has its keys: M3 and all behind it is lost
  std::optional<Duration> cancel_at;  // Ctrl-C on one side
  bool listener_cancels = false;
  Duration limit = 300s;  // simulated; longer is a hang
};

/// Draws everything from the seed: sizes, delays, faults, relay restarts, host stalls.
Scenario random_scenario(std::uint64_t seed);
std::string describe(const Scenario& scenario);

struct Outcome {
  bool hung = false;
  std::optional<session::SessionEnded> dialer, listener;
  std::uint64_t received = 0;
  std::uint32_t messages = 0;  // that reached the dialer
  bool content_wrong = false;
  std::uint64_t steps = 0;
  Duration finished_after{};             // both ended
  Duration first_byte_after_relay_up{};  // at the listener, from the dialer's relay login
  session::SessionCounters dialer_counters, listener_counters;
  std::string seen_by_relays;  // only with keep_seen

  /// Empty when both ends report success and every byte is right; else what is wrong.
  std::string problem(const Scenario& scenario) const;
};
struct RunOptions {
  bool keep_seen = false;
};
Outcome run(const Scenario& scenario, const RunOptions& options = {});

}  // namespace dh::sim
