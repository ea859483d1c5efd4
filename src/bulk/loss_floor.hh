#pragma once

#include <array>
#include <cstdint>

namespace dh::bulk {

/// What a controller was doing when a packet left; stored with the packet.
enum class SendPhase : std::uint8_t {
  Other,     // pressing on the queue, or not told apart
  Down,      // draining the queue a probe has built
  Cruise,    // just below the path's rate
  ProbeRtt,  // at half the window
};
inline constexpr std::size_t kSendPhases = 4;
using PhaseCounts = std::array<std::uint32_t, kSendPhases>;  // packets

/// How much the path loses by itself: the share of packets lost in the phases that do not press on its queue.
/// Cruising says most; draining and the half-empty window audit it, because a rate limiter drops while
/// cruising too but not while we send less. Old counts fade with every probing cycle. A value.
class LossFloor {
public:
  static constexpr double kCap = 0.08;  // beyond this it is congestion, whatever the counts say

  void on_acked(const PhaseCounts& packets);
  /// `follows`: the packet sent just before is lost too.
  void on_lost(SendPhase phase, bool follows = false) {
    round_[index(phase)].lost += 1;
    if (!follows) round_[index(phase)].runs += 1;
  }
  /// Of the packets counted as lost, these have arrived after all. They are counted as acked elsewhere.
  void on_spurious(const PhaseCounts& packets);
  /// A round is over that has lost this share of everything. Only now do its packets count; and not at all
  /// if that was absurdly much: then we did press on the queue, or the path was down.
  void end_round(double loss_ratio);
  /// A new cycle begins.
  void fade();
  /// Takes a new reading of the counts.
  void update();

  double ratio() const { return ratio_; }  // lost packets of all, 0..kCap
  /// Losses that come in runs scatter more than single ones: how many times as much the number lost of so
  /// many packets varies. 1 where each comes alone.
  double variance_factor() const { return variance_factor_; }

private:
  struct Counts {
    double acked = 0, lost = 0;  // packets, faded
    double runs = 0;             // of lost ones in a row, likewise
    double all() const { return acked + lost; }
    double ratio() const { return all() > 0 ? lost / all() : 0; }
  };
  static std::size_t index(SendPhase phase) { return static_cast<std::size_t>(phase); }

  std::array<Counts, kSendPhases> counts_{}, round_{};
  double ratio_ = 0, variance_factor_ = 1;
};

}  // namespace dh::bulk
