#pragma once

#include <optional>
#include <string_view>

namespace dh::bulk {

/// What this BBR does beyond the draft; docs/congestion.md says why. Every part can be switched off, to
/// compare and to find the part at fault. E2 to E5 do nothing without E1.
struct BbrConfig {
  bool loss_floor = true;        // E1: measures how much the path loses when nobody presses on its queue
  bool floor_threshold = true;   // E2: a probe has gone too far only when it loses more than that
  bool floor_tolerance = true;   // E3: a round that loses no more than that cuts nothing
  bool release_bound = true;     // E4: a bound that the floor explains after all is forgotten
  bool goodput_pacing = true;    // E5: sends faster by the floor, so that the model's rate arrives
  bool patient_startup = true;   // E6: loss alone does not end the start while the rate still grows
  bool shallow_headroom = true;  // E7: headroom never costs the path's own bandwidth-delay product
  bool pacing_credit = true;     // E8: time a busy machine missed may be made up (bulk/pacer.hh)
  bool believe_collapse = true;  // E9: two rounds of absurd loss end the belief in the old bandwidth

  bool operator==(const BbrConfig&) const = default;

  static constexpr BbrConfig draft() {
    return {false, false, false, false, false, false, false, false, false};
  }
  /// All but these: "E1,E4", or "all" for the draft. Empty: there is no such part.
  static std::optional<BbrConfig> without(std::string_view parts);
};

}  // namespace dh::bulk
