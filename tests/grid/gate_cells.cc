#include "gate_cells.hh"

namespace dh::bulk::test {
namespace {

using Cells = std::vector<GateCell>;

constexpr double kPacket = 1400;

double product_packets(double mbits, double rtt_ms) {
  return mbits * rtt_ms * 125 / kPacket;
}

void clean(Cells& cells) {
  for (const double rate : {1.0, 5.0, 20.0, 100.0, 1000.0})
    for (const double rtt : {1.0, 10.0, 50.0, 150.0, 300.0}) {
      const double product = product_packets(rate, rtt);
      if (product < 4 || (rate == 1000 && rtt > 10) || (rate == 100 && rtt > 50)) continue;
      const double seconds = rate >= 1000 ? 1.5 : rate >= 100 ? 10 : 25;
      Goal goal{.share = rtt >= 300 || product < 10 ? 0.93 : 0.95};
      if (product >= 100) goal.resent = 0.005;
      cells.push_back(
          {{'A', fmt::format("clean, {:g} Mbit/s {:g} ms", rate, rtt), path_of(rate, rtt), seconds,
            rate >= 1000  ? 1.0
            : rate >= 100 ? 2.0
                          : 5.0},
           goal});
    }
}

void lossy(Cells& cells) {
  for (const double rate : {10.0, 20.0, 50.0})
    for (const double rtt : {60.0, 150.0, 300.0}) {
      if (product_packets(rate, rtt) < 100 || rate * rtt > 7500) continue;
      for (const double loss : {0.001, 0.01, 0.02, 0.03, 0.05})
        cells.push_back({{'B', fmt::format("{:g}% lost, {:g} Mbit/s {:g} ms", loss * 100, rate, rtt),
                          path_of(rate, rtt, loss), 20, rtt >= 300 ? 8.0 : 4.0},
                         {.share = 0.90, .lost = loss + 0.006}});
    }
  for (const double loss : {0.01, 0.03})
    cells.push_back(
        {{'B', fmt::format("{:g}% lost, 5 Mbit/s 40 ms", loss * 100), path_of(5, 40, loss), 40, 5},
         {.share = 0.90}});
  for (const double rate : {20.0, 50.0})
    for (const double loss : {0.002, 0.01, 0.03, 0.05}) {
      Cell cell{'C', fmt::format("bursts of 4, {:g}%, {:g} Mbit/s 60 ms", loss * 100, rate),
                path_of(rate, 60, loss), 20, 5};
      cell.link.burst_packets = 4;
      cells.push_back({cell, {.share = 0.90}});
    }
}

void queues(Cells& cells) {
  struct Path {
    double rate, rtt;
  };
  for (const Path p : {Path{50, 20}, Path{20, 60}, Path{100, 20}})
    for (const double buffer : {0.1, 0.5, 1.0, 4.0, 16.0}) {
      Goal goal{.share = buffer < 0.5 ? 0.60 : 0.95};
      if (buffer >= 4) goal.mean_queue_rtts = 0.25, goal.queue_rtts = 1;
      cells.push_back({{'D', fmt::format("buffer {:g} BDP, {:g} Mbit/s {:g} ms", buffer, p.rate, p.rtt),
                        path_of(p.rate, p.rtt, 0, buffer), p.rate >= 100 ? 15.0 : 25.0, 5},
                       goal});
    }
  for (const double rate : {20.0, 50.0, 100.0})
    for (const double depth : {0.005, 0.03, 0.2}) {
      Cell cell{'E', fmt::format("policer {:g} ms deep, {:g} Mbit/s 50 ms", depth * 1e3, rate),
                path_of(rate, 50), rate >= 100 ? 15.0 : 25.0, 5};
      cell.link.policer_seconds = depth;
      cells.push_back({cell, {.share = 0.95, .lost = 0.015}});
    }
}

void shared(Cells& cells) {
  for (const double rate : {10.0, 20.0})
    for (const double buffer : {0.5, 1.0, 4.0, 16.0}) {
      Cell cell{'F', fmt::format("beside CUBIC, {:g} BDP, {:g} Mbit/s 40 ms", buffer, rate),
                path_of(rate, 40, 0, buffer), 60, 20};
      cell.others = {FlowProperties{}};
      cell.against_cubic = true;
      cells.push_back({cell, {.share = 0.25, .most_share = 0.80}});
    }
  for (const double rate : {10.0, 20.0}) {
    Cell late{'G', fmt::format("2 flows, one later by 5 s, {:g} Mbit/s 40 ms", rate), path_of(rate, 40), 45,
              25};
    late.others = {FlowProperties{.start = 5s}};
    cells.push_back({late, {.jain = 0.95}});
    Cell four{'G', fmt::format("4 flows, {:g} Mbit/s 40 ms", rate), path_of(rate, 40), 45, 25};
    four.others.resize(3);
    cells.push_back({four, {.jain = 0.95}});
    Cell unequal{'G', fmt::format("rtt 10 and 100 ms, {:g} Mbit/s", rate), path_of(rate, 10, 0, 4), 50, 20};
    unequal.others = {FlowProperties{.extra_rtt = 90ms}};
    cells.push_back({unequal, {.jain = 0.60}});
  }
  Cell many{'G', "16 flows, 0.05 BDP, 50 Mbit/s 80 ms", path_of(50, 80, 0, 0.05), 30, 10};
  many.others.resize(15);
  cells.push_back({many, {.lost = 0.015}});
}

void changing(Cells& cells) {
  for (const double rate : {20.0, 50.0}) {
    const auto name = [&](const char* what) { return fmt::format("{}, {:g} Mbit/s 40 ms", what, rate); };
    Cell up{'H', name("ten times faster"), path_of(rate / 10, 40, 0, 4), 25, 20, mbit(rate)};
    up.link.steps = {{10s, mbit(rate)}};
    cells.push_back({up, {.share = 0.9}});
    Cell far{'H', name("a hundred times faster"), path_of(rate / 100, 40, 0, 8), 30, 20, mbit(rate)};
    far.link.steps = {{10s, mbit(rate)}};
    cells.push_back({far, {.share = 0.9}});
    Cell down{'H', name("ten times slower"), path_of(rate, 40), 25, 13, mbit(rate / 10)};
    down.link.steps = {{10s, mbit(rate / 10)}};
    cells.push_back({down, {.share = 0.85, .queue_rtts = 2.5, .stall = 1}});  // 10 fit in
    Cell longer{'H', name("rtt 20 to 120 ms"), path_of(rate, 20, 0, 6), 30, 20};
    longer.link.rtt_later = 120ms;
    longer.link.rtt_changes_at = 10s;
    cells.push_back({longer, {.share = 0.9, .stall = 1}});
    for (const int dead : {2, 5}) {
      Cell cell{'I', name(dead == 2 ? "dead for 2 s" : "dead for 5 s"), path_of(rate, 40), 5.0 + dead + 6,
                5.0 + dead + 1};
      cell.link.outages = {{5s, 5s + std::chrono::seconds(dead)}};
      cells.push_back({cell, {.share = 0.9}});
    }
    for (const bool data : {false, true}) {
      Cell mute{'I', name(data ? "no data for 2 s" : "no acks for 2 s"), path_of(rate, 40), 14, 8};
      mute.link.outages = {{.from = 5s, .until = 7s, .data = data, .acks = !data}};
      cells.push_back({mute, {.share = 0.9}});
    }
  }
  for (const double rate : {50.0, 100.0})
    for (const int off : {3, 5, 8}) {
      Cell cell{'J', fmt::format("host off for {} of 10 ms, {:g} Mbit/s 20 ms", off, rate), path_of(rate, 20),
                12, 2};
      cell.link.off_cpu = std::chrono::milliseconds(off);
      cells.push_back({cell, {.share = off == 8 ? 0.80 : 0.95, .lost = 0.005}});
    }
}

void crooked(Cells& cells) {
  for (const double rate : {20.0, 50.0}) {
    const auto add = [&](char row, const char* what, double loss, const Goal& goal, auto&& change) {
      Cell cell{row, fmt::format("{}, {:g} Mbit/s 40 ms", what, rate), path_of(rate, 40, loss), 20, 5};
      change(cell.link);
      cells.push_back({cell, goal});
    };
    const Goal k{.share = 0.93, .spurious = 0.005}, l{.share = 0.9};
    add('K', "1% held up 5 ms", 0, k, [](auto& link) { link.reorder = 0.01; });
    add('K', "jitter 5 ms", 0, k, [](auto& link) { link.jitter = 5ms; });
    add('K', "jitter 20 ms", 0, k, [](auto& link) { link.jitter = 20ms; });
    add('K', "jitter 20 ms, 1% lost", 0.01, {.share = 0.9}, [](auto& link) { link.jitter = 20ms; });
    add('K', "jitter 20 ms, 3% lost", 0.03, {.share = 0.9}, [](auto& link) { link.jitter = 20ms; });
    add('K', "1% held up 5 ms, 3% lost", 0.03, {.share = 0.9}, [](auto& link) { link.reorder = 0.01; });
    add('K', "20% twice", 0, k, [](auto& link) { link.duplicate = 0.2; });
    add('L', "acks at 1/100 of the rate", 0, l,
        [&](auto& link) { link.ack_bytes_per_second = mbit(rate / 100); });
    add('L', "5% of acks lost", 0, l, [](auto& link) { link.ack_loss = 0.05; });
    add('L', "acks each 20 ms", 0, l, [](auto& link) { link.ack_gather = 20ms; });
    add('L', "acks each 20 ms, 3% lost", 0.03, l, [](auto& link) { link.ack_gather = 20ms; });
    add('L', "others' queue to 50 ms on the way back", 0, l, [](auto& link) { link.ack_congestion = 50ms; });
    add('L', "... and 3% lost", 0.03, l, [](auto& link) { link.ack_congestion = 50ms; });
    add('L', "acks jitter 20 ms, 3% lost", 0.03, l, [](auto& link) { link.ack_jitter = 20ms; });
    add('L', "one ack of 4 arrives", 0, l, [](auto& link) { link.ack_keep = 4; });
    add('L', "one ack of 16 arrives", 0, l, [](auto& link) { link.ack_keep = 16; });
    add('M', "receiver off for 5 of 10 ms, socket of 184", 0, {.share = 0.9, .lost = 0.02}, [](auto& link) {
      link.receiver_off_cpu = 5ms;
      link.socket_packets = 184;
    });
    Cell keys{'P', fmt::format("new keys every 1000 packets, 2% lost, {:g} Mbit/s 60 ms", rate),
              path_of(rate, 60, 0.02), 20, 4};
    keys.key_update_packets = 1000;
    cells.push_back({keys, {.share = 0.9, .stall = 0.3}});
  }
  Cell slow{'M', "reader of 10 Mbit/s, 50 Mbit/s 40 ms", path_of(50, 40), 20, 5, mbit(10) * 1400 / 1363};
  slow.reader = mbit(10);
  cells.push_back({slow, {.share = 0.97, .lost = 0.02}});
  Cell stalls{'M', "reader stops for 500 ms each second, 10 Mbit/s 40 ms", path_of(10, 40), 15, 5};
  stalls.reader_stalls = 500ms;
  cells.push_back({stalls, {.share = 0.9, .lost = 0.02}});
}

void transfers(Cells& cells) {
  const auto add = [&](char row, std::string name, const BottleneckProperties& link, double bytes,
                       double limit) {
    Cell cell{row, std::move(name), link, std::max(3 * limit, 5.0), std::max(3 * limit, 5.0) - 0.1};
    cell.bytes = static_cast<std::uint64_t>(bytes);
    cells.push_back({cell, {.seconds = limit}});
  };
  // Ideal: what the line takes, the way there and back, and a round trip for each doubling of 32 packets.
  for (const double rtt : {20.0, 100.0, 300.0})
    for (const double loss : {0.0, 0.01, 0.05})
      for (const double bytes : {1e3, 20e3, 100e3, 2e6}) {
        const double seconds = rtt / 1e3, packets = std::ceil(bytes / 1363);
        const double doublings = std::ceil(std::max(std::log2(packets / 32), 0.0));
        const double ideal = seconds * (1 + std::min(doublings, 5.0)) + bytes / mbit(50) / (1 - loss);
        const double slack = loss > 0 ? 3 * (1.5 * seconds + 0.03) : 1.5 * seconds + 0.005;
        add('Q', fmt::format("{:g} kB, {:g}% lost, 50 Mbit/s {:g} ms", bytes / 1e3, loss * 100, rtt),
            path_of(50, rtt, loss), bytes, ideal + slack);
      }
  const auto back = [](BottleneckProperties link, double mbits) {
    link.ack_bytes_per_second = mbit(mbits);
    return link;
  };
  add('R', "satellite", back(path_of(250, 600), 3), 100e6, 5.5);
  add('R', "satellite, 1% lost", back(path_of(250, 600, 0.01), 3), 100e6, 8.0);
  auto jittery = back(path_of(250, 600), 3);
  jittery.jitter = 7ms;
  add('R', "satellite, jitter", jittery, 100e6, 6.7);
  add('R', "satellite of 50 Mbit/s", back(path_of(50, 600), 10), 100e6, 18.2);
  add('R', "satellite of 10 Mbit/s", back(path_of(10, 600), 2), 100e6, 81.5);
  add('R', "10 MB at 100 Mbit/s", path_of(100, 20), 10e6, 1.05);
  add('R', "10 MB at 1 Gbit/s", path_of(1000, 4), 10e6, 0.25);
  add('R', "10 MB at 1 Mbit/s 600 ms", path_of(1, 600), 10e6, 81);
  add('R', "10 MB, 10 Mbit/s with 0.1 back", back(path_of(10, 20), 0.1), 10e6, 8.5);
  auto wifi = path_of(10, 20);
  wifi.outages = {{1s, 1250ms}, {1800ms, 2050ms}};
  add('R', "Wi-Fi that is suspended, 2 MB at 10 Mbit/s", wifi, 2e6, 2.8);
  auto back_again = path_of(10, 100, 0, 2);
  back_again.steps = {{1500ms, mbit(5)}, {2500ms, mbit(10)}};
  add('R', "drop and back, 3 MB", back_again, 3e6, 4.2);
}

}  // namespace

std::vector<GateCell> gate_cells() {
  Cells cells;
  clean(cells);
  lossy(cells);
  queues(cells);
  shared(cells);
  changing(cells);
  crooked(cells);
  transfers(cells);
  std::stable_sort(cells.begin(), cells.end(),
                   [](const GateCell& a, const GateCell& b) { return a.cell.row < b.cell.row; });
  return cells;
}

}  // namespace dh::bulk::test
