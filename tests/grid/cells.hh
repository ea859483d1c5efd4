#pragma once

// One kind of path and what a stream over it must reach: what the gate in `./dev test` and `./dev bench cc`
// and `grid` share. Rows A to R as in docs/performance/grid.md.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "../bulk/bottleneck.hh"

namespace dh::bulk::test {

struct Cell {
  char row = ' ';
  std::string name;
  BottleneckProperties link{};
  double seconds = 20, from = 2;         // run this long; count from here on
  double attainable = 0;                 // bytes per second then; 0: rate x (1 - loss)
  std::vector<FlowProperties> others{};  // beside the one measured
  std::uint64_t bytes = 0;               // > 0: a transfer of this size; its time counts
  double reader = 0;                     // bytes per second
  Duration extra_rtt{};
  bool against_cubic = false;  // others are CUBIC whatever is measured; otherwise the same
  Duration reader_stalls{};
  std::uint64_t key_update_packets = 0;
};

struct Result {
  double share = 0;       // of the attainable rate
  double queue_rtts = 0;  // 95th percentile
  double mean_queue_rtts = 0;
  double t90 = 0;     // seconds until a round trip delivered 90 %
  double resent = 0;  // share of what was sent
  double floor = 0, lost = 0, jain = 0;
  double finished = 0;  // seconds; 0: not
  double stall = 0;     // longest time without a byte for the reader, seconds, in steps of 20 ms
  double spurious = 0;  // share of packets sent that were repaired for nothing
};

inline double percentile(std::vector<float>& values, double part) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return static_cast<double>(*at);
}

/// One flow of `controller` over the cell's path, with its company.
inline Result run(const Cell& cell, Controller controller, const BbrConfig& bbr, std::uint64_t seed) {
  std::vector<FlowProperties> flows{{.controller = controller,
                                     .bbr = bbr,
                                     .extra_rtt = cell.extra_rtt,
                                     .bytes = cell.bytes,
                                     .reader_bytes_per_second = cell.reader,
                                     .reader_stalls = cell.reader_stalls,
                                     .key_update_packets = cell.key_update_packets}};
  for (FlowProperties other : cell.others) {
    other.controller = cell.against_cubic ? Controller::Cubic : controller;
    other.bbr = bbr;
    flows.push_back(other);
  }
  Bottleneck world(cell.link, flows, seed);
  Result result;
  const double attainable =
      cell.attainable > 0 ? cell.attainable : cell.link.bytes_per_second * (1 - cell.link.loss);
  double progress = 0, progress_at = 0, last = 0;
  const auto watch = [&](double until) {  // in steps, for stalls
    for (double t = to_seconds(world.now()); t < until;) {
      t = std::min(t + 0.02, until);
      world.run_until(from_seconds(t));
      if (world.delivered(0) > progress) {
        progress = world.delivered(0);
        progress_at = t;
      }
      result.stall = std::max(result.stall, t - progress_at);
      if (cell.bytes > 0 && world.finished_at(0)) return;
    }
  };
  const double step = std::max(to_seconds(cell.link.rtt), 0.02);
  for (double t = step; t < cell.from && result.t90 == 0; t += step) {
    watch(t);
    const double delivered = world.delivered(0);
    if (delivered - last >= 0.9 * attainable * step) result.t90 = t;
    last = delivered;
  }
  watch(cell.from);
  world.take_queue();
  std::vector<double> before;
  for (std::size_t i = 0; i < flows.size(); ++i) before.push_back(world.delivered(i));
  watch(cell.seconds);
  double sum = 0, squares = 0, mine = 0;
  for (std::size_t i = 0; i < flows.size(); ++i) {
    const double rate = (world.delivered(i) - before[i]) / (cell.seconds - cell.from);
    if (i == 0) mine = rate;
    sum += rate;
    squares += rate * rate;
  }
  auto queue = world.take_queue();
  result.share = mine / attainable;
  result.jain = squares > 0 ? sum * sum / (static_cast<double>(flows.size()) * squares) : 0;
  double delays = 0;
  for (const float delay : queue.delays) delays += static_cast<double>(delay);
  if (!queue.delays.empty())
    result.mean_queue_rtts = delays / static_cast<double>(queue.delays.size()) / to_seconds(cell.link.rtt);
  result.queue_rtts = percentile(queue.delays, 0.95) / to_seconds(cell.link.rtt);
  if (queue.offered > 0)
    result.lost = static_cast<double>(queue.dropped + queue.lost) / static_cast<double>(queue.offered);
  const StreamCounters& counters = world.sender(0).counters();
  result.resent = static_cast<double>(counters.resent_bytes) /
                  std::max(static_cast<double>(counters.bytes_on_wire_sent), 1.0);
  result.spurious = static_cast<double>(counters.spurious_losses) /
                    std::max(static_cast<double>(counters.packets_sent), 1.0);
  result.floor = world.report(0).loss_floor;
  if (const auto finished = world.finished_at(0)) result.finished = to_seconds(*finished);
  return result;
}

inline BottleneckProperties path_of(double mbits, double rtt_ms, double loss = 0, double buffer = 1) {
  BottleneckProperties link;
  link.bytes_per_second = mbit(mbits);
  link.rtt = from_seconds(rtt_ms / 1e3);
  link.loss = loss;
  link.buffer_bdp = buffer;
  return link;
}

}  // namespace dh::bulk::test
