// How the congestion controllers do over many kinds of paths: real senders and receivers, virtual time.
//   bench_cc_grid [ROWS] [--draft] [--bbr-only] [--seeds N]      rows by letter, as in docs/congestion.md;
//   all without any
// One line per path: share of what could be had, p95 of the queue in round trips, seconds to 90 %, share
// sent again, and what BBR took for the path's own loss.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "tests/grid/cells.hh"

namespace {

using namespace dh;
using namespace dh::bulk;
using namespace dh::bulk::test;

void clean_and_lossy(std::vector<Cell>& cells) {
  for (const double rate : {1.0, 10.0, 100.0, 1000.0})
    for (const double rtt : {1.0, 10.0, 20.0, 50.0, 100.0, 150.0, 300.0}) {
      if (rate * rtt * 125 < 4 * 1400) continue;
      const double seconds = rate >= 1000 ? 8 : 30;
      cells.push_back({'A', fmt::format("{:g} Mbit/s {:g} ms", rate, rtt), path_of(rate, rtt), seconds,
                       rate >= 1000 ? 4 : 5.0});
    }
  cells.push_back({'A', "10 Gbit/s 10 ms", path_of(10'000, 10), 1.2, 0.6});
  for (const double rate : {10.0, 100.0, 1000.0})
    for (const double rtt : {20.0, 100.0, 300.0})
      for (const double loss : {0.001, 0.01, 0.02, 0.03, 0.05}) {
        if (rate * rtt * 125 < 100 * 1400 || rate * rtt > 20'000) continue;
        const double seconds = rate >= 1000 ? 8 : 30;
        cells.push_back({'B', fmt::format("{:g} Mbit/s {:g} ms {:g}%", rate, rtt, loss * 100),
                         path_of(rate, rtt, loss), seconds, rate >= 1000 ? 2 : 5.0});
      }
  for (const double rate : {5.0, 20.0})
    for (const double loss : {0.01, 0.03})
      cells.push_back(
          {'B', fmt::format("{:g} Mbit/s 40 ms {:g}%", rate, loss * 100), path_of(rate, 40, loss), 40, 5});
  for (const double loss : {0.002, 0.01, 0.03, 0.05}) {
    Cell cell{'C', fmt::format("bursts of 4, {:g}%", loss * 100), path_of(300, 20, loss), 15, 5};
    cell.link.burst_packets = 4;
    cells.push_back(cell);
  }
  for (const double rtt : {20.0, 100.0})
    for (const double buffer : {0.02, 0.1, 0.5, 1.0, 4.0, 16.0})
      cells.push_back({'D', fmt::format("100 Mbit/s {:g} ms, {:g} BDP", rtt, buffer),
                       path_of(100, rtt, 0, buffer), 40, 10});
  for (const double depth : {0.005, 0.03, 0.2}) {
    Cell cell{'E', fmt::format("policer, {:g} ms deep", depth * 1e3), path_of(100, 50), 40, 10};
    cell.link.policer_seconds = depth;
    cells.push_back(cell);
  }
}

void shared(std::vector<Cell>& cells) {
  for (const double buffer : {0.5, 1.0, 4.0, 16.0}) {
    Cell cell{'F', fmt::format("beside 1 CUBIC, {:g} BDP", buffer), path_of(100, 40, 0, buffer), 80, 20};
    cell.others = {FlowProperties{}};
    cell.against_cubic = true;
    cells.push_back(cell);
  }
  Cell late{'G', "2 flows, 1 later by 10 s", path_of(100, 40), 60, 30};
  late.others = {FlowProperties{.start = 10s}};
  late.attainable = mbit(50);
  cells.push_back(late);
  Cell four{'G', "4 flows", path_of(100, 40), 60, 30};
  four.others.resize(3);
  four.attainable = mbit(25);
  cells.push_back(four);
  Cell many{'G', "16 flows, 0.05 BDP", path_of(100, 40, 0, 0.05), 40, 10};
  many.others.resize(15);
  many.attainable = mbit(100.0 / 16);
  cells.push_back(many);
  Cell unequal{'G', "rtt 10 and 100 ms", path_of(100, 10, 0, 4), 60, 20};
  unequal.others = {FlowProperties{.extra_rtt = 90ms}};
  unequal.attainable = mbit(50);
  cells.push_back(unequal);
}

void changing(std::vector<Cell>& cells) {
  Cell up{'H', "10 to 100 Mbit/s at 10 s", path_of(10, 40, 0, 4), 30, 20, mbit(100)};
  up.link.steps = {{10s, mbit(100)}};
  cells.push_back(up);
  Cell far{'H', "1 to 100 Mbit/s at 10 s", path_of(1, 40, 0, 8), 40, 25, mbit(100)};
  far.link.steps = {{10s, mbit(100)}};
  cells.push_back(far);
  Cell down{'H', "100 to 10 Mbit/s at 10 s", path_of(100, 40), 30, 13, mbit(10)};
  down.link.steps = {{10s, mbit(10)}};
  cells.push_back(down);
  Cell longer{'H', "rtt 20 to 120 ms at 10 s", path_of(100, 20, 0, 2), 40, 20};
  longer.link.rtt_later = 120ms;
  longer.link.rtt_changes_at = 10s;
  cells.push_back(longer);
  for (const int seconds : {2, 5}) {
    Cell dead{'I', fmt::format("dead for {} s", seconds), path_of(100, 40), 10.0 + seconds + 6,
              10.0 + seconds + 1};
    dead.link.outages = {{10s, 10s + std::chrono::seconds(seconds)}};
    cells.push_back(dead);
  }
  Cell mute{'I', "no acks for 2 s", path_of(100, 40), 18, 13};
  mute.link.outages = {{.from = 10s, .until = 12s, .data = false}};
  cells.push_back(mute);
  for (const int off : {3, 5, 8}) {
    Cell cell{'J', fmt::format("host off for {} of 10 ms", off), path_of(300, 20), 12, 3};
    cell.link.off_cpu = std::chrono::milliseconds(off);
    cells.push_back(cell);
  }
}

void crooked(std::vector<Cell>& cells) {
  const auto add = [&](char row, const char* name, double loss, auto&& change) {
    Cell cell{row, name, path_of(100, 40, loss), 30, 5};
    change(cell.link);
    cells.push_back(cell);
  };
  add('K', "1% held up 5 ms", 0, [](auto& link) { link.reorder = 0.01; });
  add('K', "jitter 5 ms", 0, [](auto& link) { link.jitter = 5ms; });
  add('K', "jitter 20 ms", 0, [](auto& link) { link.jitter = 20ms; });
  add('K', "jitter 20 ms, 1%", 0.01, [](auto& link) { link.jitter = 20ms; });
  add('K', "jitter 20 ms, 3%", 0.03, [](auto& link) { link.jitter = 20ms; });
  add('K', "1% held up 5 ms, 3%", 0.03, [](auto& link) { link.reorder = 0.01; });
  add('K', "20% twice", 0, [](auto& link) { link.duplicate = 0.2; });
  add('L', "acks: 1/100 of the rate", 0, [](auto& link) { link.ack_bytes_per_second = mbit(1); });
  add('L', "acks: 5% lost", 0, [](auto& link) { link.ack_loss = 0.05; });
  add('L', "acks: each 20 ms", 0, [](auto& link) { link.ack_gather = 20ms; });
  add('L', "acks: each 20 ms, 3%", 0.03, [](auto& link) { link.ack_gather = 20ms; });
  add('L', "acks: others' queue to 50 ms", 0, [](auto& link) { link.ack_congestion = 50ms; });
  add('L', "acks: ... and 1%", 0.01, [](auto& link) { link.ack_congestion = 50ms; });
  add('L', "acks: ... and 3%", 0.03, [](auto& link) { link.ack_congestion = 50ms; });
  add('L', "acks: jitter 20 ms, 3%", 0.03, [](auto& link) { link.ack_jitter = 20ms; });
  Cell slow{'M', "reader of 30 Mbit/s", path_of(100, 40), 30, 5, mbit(30) * 1400 / 1363};
  slow.reader = mbit(30);
  cells.push_back(slow);
}

void transfers(std::vector<Cell>& cells) {
  const auto add = [&](char row, std::string name, BottleneckProperties link, double bytes, double limit) {
    Cell cell{row, std::move(name), std::move(link), limit, limit / 2};
    cell.bytes = static_cast<std::uint64_t>(bytes);
    cells.push_back(cell);
  };
  for (const double rtt : {20.0, 100.0, 300.0})
    for (const double loss : {0.0, 0.01, 0.05})
      for (const double bytes : {1e3, 100e3, 10e6})
        add('Q', fmt::format("{:g} kB, {:g} ms, {:g}%", bytes / 1e3, rtt, loss * 100),
            path_of(100, rtt, loss), bytes, 60);
  auto satellite = path_of(250, 600);
  satellite.ack_bytes_per_second = mbit(3);
  add('R', "satellite (limit 5.5 s)", satellite, 100e6, 60);
  satellite.loss = 0.01;
  add('R', "satellite, loss (8 s)", satellite, 100e6, 60);
  auto small = path_of(10, 600);
  small.ack_bytes_per_second = mbit(2);
  add('R', "satellite, small (81.5 s)", small, 100e6, 150);
  add('R', "10 MB at 100 Mbit/s (1.05 s)", path_of(100, 20), 10e6, 20);
  add('R', "10 MB at 1 Gbit/s (0.25 s)", path_of(1000, 4), 10e6, 20);
  add('R', "10 MB at 1 Mbit/s 600 ms (81 s)", path_of(1, 600), 10e6, 150);
  auto asymmetric = path_of(10, 20);
  asymmetric.ack_bytes_per_second = mbit(0.1);
  add('R', "10 MB, 10 / 0.1 Mbit/s (8.5 s)", asymmetric, 10e6, 40);
}

std::string show(const Cell& cell, const Result& r, bool bbr) {
  char text[160];
  if (cell.bytes > 0) {
    std::snprintf(text, sizeof text, "%7.2f s  %5.2f%% again", r.finished, r.resent * 100);
  } else {
    std::snprintf(text, sizeof text, "%5.3f %5.2f %5.2f %6.2f%%", r.share, r.queue_rtts, r.t90,
                  r.resent * 100);
  }
  std::string line = text;
  if (bbr && cell.bytes == 0) {
    std::snprintf(text, sizeof text, " %5.2f%%", r.floor * 100);
    line += text;
  }
  if (cell.row == 'G') {
    std::snprintf(text, sizeof text, " jain %.2f lost %.2f%%", r.jain, r.lost * 100);
    line += text;
  }
  return line;
}

Result average(const Cell& cell, Controller controller, const BbrConfig& bbr, int seeds) {
  Result sum;
  double Result::*const fields[] = {&Result::share, &Result::queue_rtts, &Result::t90,  &Result::resent,
                                    &Result::floor, &Result::lost,       &Result::jain, &Result::finished};
  for (int seed = 1; seed <= seeds; ++seed) {
    const Result one = run(cell, controller, bbr, static_cast<std::uint64_t>(seed));
    for (const auto field : fields) sum.*field += one.*field / seeds;
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  std::string rows;
  bool draft = false, cubic = true;
  int seeds = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--draft") == 0) {
      draft = true;
    } else if (std::strcmp(argv[i], "--bbr-only") == 0) {
      cubic = false;
    } else if (std::strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
      seeds = std::max(std::atoi(argv[++i]), 1);
    } else {
      rows += argv[i];
    }
  }
  std::vector<Cell> cells;
  clean_and_lossy(cells);
  shared(cells);
  changing(cells);
  crooked(cells);
  transfers(cells);
  const char* columns = "share queue   t90  again  floor";
  std::printf("%-34s", "");
  if (cubic) std::printf(" %-27s", "CUBIC");
  std::printf(" %-34s %s\n%-34s", "BBR", draft ? "BBR of the draft" : "", "");
  if (cubic) std::printf(" %-27.25s", columns);
  std::printf(" %-34s %s\n", columns, draft ? columns : "");
  for (const Cell& cell : cells) {
    if (!rows.empty() && rows.find(cell.row) == std::string::npos) continue;
    std::printf("%c %-32s", cell.row, cell.name.c_str());
    if (cubic) std::printf(" %-27s", show(cell, average(cell, Controller::Cubic, {}, seeds), false).c_str());
    std::printf(" %-34s", show(cell, average(cell, Controller::Bbr, {}, seeds), true).c_str());
    if (draft)
      std::printf(" %s", show(cell, average(cell, Controller::Bbr, BbrConfig::draft(), seeds), true).c_str());
    std::printf("\n");
    std::fflush(stdout);
  }
}
