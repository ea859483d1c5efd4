// Time to the first byte in the simulator, as relay round trips between the two hosts.
#include <fmt/format.h>

#include "sim/scenario.hh"

int main() {
  using namespace dh;
  for (const auto delay : {5ms, 20ms, 50ms, 150ms}) {
    sim::Scenario scenario;
    scenario.bytes = 1024;
    scenario.link.delay = delay;
    const sim::Outcome outcome = sim::run(scenario);
    const std::string problem = outcome.problem(scenario);
    if (!problem.empty()) {
      fmt::print("failed: {}\n", problem);
      return 1;
    }
    const Duration round_trip = 4 * delay;  // host, relay, host, and back
    fmt::print("  relay round trip {:4} ms: {:.2f}\n",
               std::chrono::duration_cast<std::chrono::milliseconds>(round_trip).count(),
               to_seconds(outcome.first_byte_after_relay_up) / to_seconds(round_trip));
  }
}
