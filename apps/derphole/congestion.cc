#include "congestion.hh"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "base/printable.hh"
#include "exit_status.hh"

namespace dh::app {

bulk::BbrConfig bbr_from_environment() {
  const char* parts = std::getenv("DERPHOLE_BBR_WITHOUT");
  if (parts == nullptr || *parts == '\0') return {};
  const auto config = bulk::BbrConfig::without(parts);
  if (!config)
    throw CommandError(
        Exit::Usage, fmt::format("DERPHOLE_BBR_WITHOUT is {}; it may be all, or some of E1 to E9 with commas",
                                 printable(parts)));
  return *config;
}

Reporter::Fields congestion_fields(const bulk::ControllerReport& report) {
  const auto rate = [](double bytes_per_second) {
    return Reporter::number(static_cast<std::uint64_t>(std::max(0.0, bytes_per_second)));
  };
  Reporter::Fields fields = {
      {"controller", Reporter::text(report.name)},
      {"controller_state", Reporter::text(report.state)},
      {"window_bytes", Reporter::number(report.window_bytes)},
      {"pacing_bytes_per_second", rate(report.pacing_rate)},
      {"model_bytes_per_second", rate(report.bandwidth)},
      {"inflight_bound_bytes", std::isfinite(report.inflight_bound) ? rate(report.inflight_bound) : "null"},
      {"loss_floor", Reporter::number(report.loss_floor)}};
  std::string counts;
  for (const auto& [name, count] : report.counts)
    counts += fmt::format("{}\"{}\":{}", counts.empty() ? "" : ",", name, count);
  fields.emplace_back("controller_counts", "{" + counts + "}");
  return fields;
}

std::string congestion_words(const bulk::ControllerReport& report) {
  std::string words = fmt::format("{} in {}, window {}, pace {}", report.name, report.state,
                                  human_bytes(report.window_bytes), human_rate(report.pacing_rate));
  if (report.bandwidth > 0) words += fmt::format(", model {}", human_rate(report.bandwidth));
  if (report.loss_floor > 0) words += fmt::format(", floor {:.2f} % lost", report.loss_floor * 100);
  for (const auto& [name, count] : report.counts)
    if (count != 0) words += fmt::format(", {} {}", name, count);
  return words;
}

}  // namespace dh::app
