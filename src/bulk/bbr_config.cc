#include "bulk/bbr_config.hh"

#include <array>

namespace dh::bulk {

std::optional<BbrConfig> BbrConfig::without(std::string_view parts) {
  static constexpr std::array<bool BbrConfig::*, 9> kParts = {
      &BbrConfig::loss_floor,       &BbrConfig::floor_threshold, &BbrConfig::floor_tolerance,
      &BbrConfig::release_bound,    &BbrConfig::goodput_pacing,  &BbrConfig::patient_startup,
      &BbrConfig::shallow_headroom, &BbrConfig::pacing_credit,   &BbrConfig::believe_collapse};
  if (parts == "all") return draft();
  BbrConfig config;
  for (;;) {
    const std::size_t comma = parts.find(',');
    const std::string_view part = parts.substr(0, comma);
    if (part.size() != 2 || part[0] != 'E' || part[1] < '1' || part[1] > '9') return std::nullopt;
    config.*kParts[static_cast<std::size_t>(part[1] - '1')] = false;
    if (comma == std::string_view::npos) return config;
    parts.remove_prefix(comma + 1);
  }
}

}  // namespace dh::bulk
