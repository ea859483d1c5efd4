#pragma once

#include <cstdint>
#include <optional>

#include "base/time.hh"

namespace dh::session {

/// Tells when the relay would carry a stream better than the direct path it is on: a direct path may be short
/// and lose one packet in twenty. Measures what each delivered while there was more to send, and looks at the
/// relay when the direct path loses packets and is far below what the relay's window would allow. Pure.
///
///   Direct --delivers half of what the relay did, or unknown relay and heavy loss--> Leave
///   Relay after Leave --measured, and it is no better--> Return
class DeliveryWatch {
public:
  static constexpr Duration kInterval = 250ms;       // between two samples
  static constexpr Duration kSettle = 1s;            // after a move: start-up is no measure
  static constexpr Duration kMeasure = 2s;           // of full load, for one figure
  static constexpr Duration kRemember = 300s;        // an older figure is none
  static constexpr double kHeavyLoss = 0.1;          // of the packets sent: more than a BBR sender lives with
  static constexpr double kMuchLess = 0.5;           // of the other's rate: worth a move
  static constexpr std::uint64_t kMinPackets = 100;  // before a share of losses means something

  struct Sample {
    bool direct = false;                  // the path the stream prefers now
    bool backlog = false;                 // there was more to send than the path took
    std::uint64_t delivered = 0;          // bytes acknowledged so far, on all paths
    std::uint64_t packets = 0, lost = 0;  // so far, on the direct path
    double relay_bound = 0;               // bytes per second: the relay window over the relay's round trip
  };
  enum class Advice : std::uint8_t {
    Stay,
    Leave,   // the direct path, for the relay
    Return,  // to the direct path: the relay turned out to be no better
  };
  Advice on_sample(const Sample& sample, Instant now);
  /// When the next sample is due.
  Instant next_sample() const { return next_; }

private:
  struct Rate {
    double bytes_per_second = 0;
    Instant measured_at{};
  };
  struct Start {  // of the measurement under way
    Instant at{};
    std::uint64_t delivered = 0, packets = 0, lost = 0;
  };
  void restart(const Sample& sample, Instant at);
  double known(const std::optional<Rate>& rate, Instant now) const;
  Advice judge(const Sample& sample, Instant now);

  Instant next_{};
  bool started_ = false, direct_ = false, left_ = false;
  Instant moved_at_{};
  Start start_;
  std::optional<Rate> direct_rate_, relay_rate_;
};

}  // namespace dh::session
