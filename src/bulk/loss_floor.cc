#include "bulk/loss_floor.hh"

#include <algorithm>
#include <cmath>

namespace dh::bulk {
namespace {

constexpr double kFade = 0.6, kProbeRttFade = 0.8;  // of the counts, each cycle; probes of the rtt are rare
constexpr double kBasePackets = 100;                // fewer say nothing
constexpr double kDownAuditPackets = 60, kProbeRttAuditPackets = 40;
constexpr double kAbsurdLoss = 0.2;  // of a round
constexpr double kAuditFactor = 1.25;
constexpr double kLeastVariance = 0.002;
constexpr double kRunPrior = 3;    // losses that each came alone, to begin with
constexpr double kLongestRun = 8;  // a mean beyond this is outages, not a path that loses

}  // namespace

void LossFloor::on_acked(const PhaseCounts& packets) {
  for (std::size_t i = 0; i < kSendPhases; ++i) round_[i].acked += packets[i];
}

void LossFloor::end_round(double loss_ratio) {
  for (std::size_t i = 0; i < kSendPhases && loss_ratio <= kAbsurdLoss; ++i) {
    counts_[i].acked += round_[i].acked;
    counts_[i].lost += round_[i].lost;
    counts_[i].runs += round_[i].runs;
  }
  round_ = {};
}

void LossFloor::on_spurious(const PhaseCounts& packets) {
  for (std::size_t i = 0; i < kSendPhases; ++i) {
    const double in_round = std::min<double>(round_[i].lost, packets[i]);
    round_[i].lost -= in_round;
    counts_[i].lost = std::max(0.0, counts_[i].lost - (packets[i] - in_round));
  }
}

void LossFloor::fade() {
  for (std::size_t i = 0; i < kSendPhases; ++i) {
    const double factor = i == index(SendPhase::ProbeRtt) ? kProbeRttFade : kFade;
    counts_[i].acked *= factor;
    counts_[i].lost *= factor;
    counts_[i].runs *= factor;
  }
}

void LossFloor::update() {
  const Counts& cruise = counts_[index(SendPhase::Cruise)];
  const Counts& down = counts_[index(SendPhase::Down)];
  const Counts& probe_rtt = counts_[index(SendPhase::ProbeRtt)];
  double lost = kRunPrior, runs = kRunPrior;
  for (const Counts* counts : {&cruise, &down, &probe_rtt}) lost += counts->lost, runs += counts->runs;
  const double run = std::clamp(lost / runs, 1.0, kLongestRun);
  variance_factor_ = 2 * run - 1;  // of a Poisson number of runs of geometric length
  const double base = cruise.all() >= kBasePackets ? cruise.ratio()
                      : down.all() >= kBasePackets ? down.ratio()
                                                   : 0;
  double floor = base;
  const auto audit = [&](const Counts& counts, double enough) {
    if (counts.all() < enough) return;
    // That few packets were spared says little where losses come in runs.
    const double expected = std::max(counts.ratio(), kLeastVariance) + (1 - 1 / run) * base;
    const double deviation = std::sqrt(expected * variance_factor_ / counts.all());
    floor = std::min(floor, kAuditFactor * counts.ratio() + deviation);
  };
  audit(down, kDownAuditPackets);
  audit(probe_rtt, kProbeRttAuditPackets);
  ratio_ = std::min(floor, kCap);
}

}  // namespace dh::bulk
