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

}  // namespace

void LossFloor::on_acked(const PhaseCounts& packets) {
  for (std::size_t i = 0; i < kSendPhases; ++i) round_[i].acked += packets[i];
}

void LossFloor::end_round(double loss_ratio) {
  for (std::size_t i = 0; i < kSendPhases && loss_ratio <= kAbsurdLoss; ++i) {
    counts_[i].acked += round_[i].acked;
    counts_[i].lost += round_[i].lost;
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
  }
}

void LossFloor::update() {
  const Counts& cruise = counts_[index(SendPhase::Cruise)];
  const Counts& down = counts_[index(SendPhase::Down)];
  const Counts& probe_rtt = counts_[index(SendPhase::ProbeRtt)];
  double floor = cruise.all() >= kBasePackets ? cruise.ratio()
                 : down.all() >= kBasePackets ? down.ratio()
                                              : 0;
  const auto audit = [&](const Counts& counts, double enough) {
    if (counts.all() < enough) return;
    const double deviation = std::sqrt(std::max(counts.ratio(), kLeastVariance) / counts.all());
    floor = std::min(floor, kAuditFactor * counts.ratio() + deviation);
  };
  audit(down, kDownAuditPackets);
  audit(probe_rtt, kProbeRttAuditPackets);
  ratio_ = std::min(floor, kCap);
}

}  // namespace dh::bulk
