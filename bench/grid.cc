// The full congestion grid and the curves of docs/performance/grid.md, in virtual time; a JSON object per
// line.
//   bench_grid [SECTION...]                     grid, loss, queue, ramp, sharing; all without any
//   bench_grid cell MBITS RTT_MS LOSS BUFFER    one path, for lab/cells.py

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "tests/grid/cells.hh"

namespace {

using namespace dh;
using namespace dh::bulk;
using namespace dh::bulk::test;

struct Contestant {
  const char* name;
  Controller controller;
  BbrConfig bbr;
};

const Contestant kContestants[] = {{"bbr", Controller::Bbr, {}},
                                   {"cubic", Controller::Cubic, {}},
                                   {"draft", Controller::Bbr, BbrConfig::draft()}};

void print(const char* section, const Contestant& who, double rate, double rtt, double loss, double buffer,
           const Result& r) {
  fmt::print(R"({{"section":"{}","cc":"{}","rate":{:g},"rtt":{:g},"loss":{:g},"buffer":{:g},"share":{:.4f},)"
             R"("queue":{:.4f},"mean_queue":{:.4f},"lost":{:.5f},"t90":{:.3f}}})"
             "\n",
             section, who.name, rate, rtt, loss, buffer, r.share, r.queue_rtts, r.mean_queue_rtts, r.lost,
             r.t90);
  std::fflush(stdout);
}

void measure(const char* section, double rate, double rtt, double loss, double buffer, double seconds,
             double from) {
  for (const Contestant& who : kContestants) {
    const Cell cell{
        .row = 'g', .name = "", .link = path_of(rate, rtt, loss, buffer), .seconds = seconds, .from = from};
    print(section, who, rate, rtt, loss, buffer, run(cell, who.controller, who.bbr, 1));
  }
}

void grid() {
  for (const double rate : {1.0, 10.0, 100.0, 1000.0})
    for (const double rtt : {1.0, 10.0, 50.0, 150.0, 300.0}) {
      const double packets = rate * rtt * 125 / 1400;
      // Left out: products below four packets, and those that cost minutes to fill.
      if (packets < 4 || packets > 5000) continue;
      const double from = rate >= 1000 ? 1 : std::max(2.0, rtt / 30);
      const double seconds = rate >= 1000 ? 3 : rate >= 100 ? from + 8 : from + 20;
      for (const double loss : {0.0, 0.001, 0.01, 0.03, 0.05})
        for (const double buffer : {0.1, 0.5, 1.0, 4.0})
          measure("grid", rate, rtt, loss, buffer, seconds, from);
    }
}

void loss() {
  for (const double rtt : {20.0, 100.0})
    for (const double part : {0.0, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.08})
      measure("loss", 100, rtt, part, 1, 15, 5);
}

void queue() {
  for (const double buffer : {0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0})
    measure("queue", 100, 20, 0, buffer, 20, 5);
}

/// Megabits per second of each flow over time, as the curve `name` of the panel `panel`.
void curve(const char* section, const std::string& panel, const char* name, std::size_t flow, double at,
           double mbits) {
  fmt::print(R"({{"section":"{}","panel":"{}","cc":"{}","flow":{},"t":{:.3f},"mbits":{:.3f}}})"
             "\n",
             section, panel, name, flow, at, mbits);
}

void ramp() {
  struct Path {
    double rate, rtt;
  };
  for (const Path p : {Path{100, 20}, Path{100, 100}, Path{1000, 20}})
    for (const Contestant& who : kContestants) {
      Bottleneck world(path_of(p.rate, p.rtt), {{.controller = who.controller, .bbr = who.bbr}}, 1);
      const double step = std::max(p.rtt, 20.0) / 1e3;
      double last = 0;
      for (double t = step; t <= 75 * step + 1e-9; t += step) {
        world.run_until(from_seconds(t));
        curve("ramp", fmt::format("{:g} Mbit/s, {:g} ms", p.rate, p.rtt), who.name, 0, t,
              (world.delivered(0) - last) / step / 125e3);
        last = world.delivered(0);
      }
    }
}

void sharing() {
  struct Pair {
    const char* panel;
    FlowProperties first, second;
    double buffer;
  };
  const FlowProperties bbr{}, cubic{.controller = Controller::Cubic, .bbr = {}},
      polite{.controller = Controller::Ledbat, .bbr = {}};
  for (Pair pair :
       {Pair{"BBR and BBR, 1 BDP", bbr, bbr, 1}, Pair{"BBR and CUBIC, 1 BDP", bbr, cubic, 1},
        Pair{"BBR and CUBIC, 4 BDP", bbr, cubic, 4}, Pair{"polite and CUBIC, 4 BDP", polite, cubic, 4}}) {
    pair.second.start = 10s;
    Bottleneck world(path_of(50, 40, 0, pair.buffer), {pair.first, pair.second}, 1);
    double last[2] = {0, 0};
    for (int t = 1; t <= 60; ++t) {
      world.run_until(std::chrono::seconds(t));
      for (const std::size_t flow : {0, 1}) {
        const FlowProperties& properties = flow == 0 ? pair.first : pair.second;
        curve("sharing", pair.panel,
              properties.controller == Controller::Bbr     ? "bbr"
              : properties.controller == Controller::Cubic ? "cubic"
                                                           : "polite",
              flow, t, (world.delivered(flow) - last[flow]) / 125e3);
        last[flow] = world.delivered(flow);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 6 && std::strcmp(argv[1], "cell") == 0) {
    measure("cell", std::atof(argv[2]), std::atof(argv[3]), std::atof(argv[4]), std::atof(argv[5]), 11, 3);
    return 0;
  }
  const auto asked = [&](const char* section) {
    for (int i = 1; i < argc; ++i)
      if (std::strcmp(argv[i], section) == 0) return true;
    return argc == 1;
  };
  if (asked("loss")) loss();
  if (asked("queue")) queue();
  if (asked("ramp")) ramp();
  if (asked("sharing")) sharing();
  if (asked("grid")) grid();
}
