// One stream of a tunnel's QUIC over a simulated link, by congestion control:
//   bench_quic_link [MBIT_PER_SECOND ROUND_TRIP_MS LOSS_PERCENT SECONDS]
// Goodput from the second second on, as a share of what the link carries of payload. The queue holds one
// product of rate and round trip; losses come before it.

#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "crypto/keys.hh"
#include "quic/connection.hh"

namespace {

using namespace dh;
using namespace std::chrono_literals;

constexpr std::size_t kDatagram = 1452;
constexpr std::size_t kHeaders = 28;       // IPv4 and UDP, which the link's rate counts
constexpr std::size_t kQuicOverhead = 36;  // of a full packet: header, id, number, tag, frame
constexpr Duration kWarmUp = 1s;

struct Link {
  double bytes_per_second, loss;
  Duration delay;
  std::size_t queue_bytes;
};

class World {
public:
  World(const Link& link, quic::Controller controller) : rng_(1), link_(link) {
    quic::Config config;
    rng_.fill(config.psk.expose_mutable());
    rng_.fill(config.first_connection_id);
    config.controller = controller;
    config.datagram_bytes = kDatagram;
    for (std::size_t i = 0; i < 2; ++i) {
      config.server = i == 1;
      nodes_[i] = std::make_unique<quic::Connection>(config, now_, rng_);
    }
  }

  /// Payload bytes a second at the server.
  double run(Duration length) {
    const Bytes block(256 << 10);
    std::optional<quic::StreamId> stream;
    std::uint64_t received = 0, warm = 0;
    const Instant end = now_ + length;
    while (now_ < end) {
      for (std::size_t i = 0; i < 2; ++i) {
        quic::Connection& node = *nodes_[i];
        while (node.poll_event()) {
        }
        if (i == 0 && !stream) stream = node.open_stream();
        if (i == 0 && stream) node.write(*stream, block);
        if (i == 1) received += read(node);
        Bytes out(quic::kMaxDatagramBytes);
        while (const auto size = node.poll_transmit(out, now_)) send(1 - i, ByteView(out).first(*size));
      }
      if (now_ - Instant{} < kWarmUp) warm = received;
      advance(end);
    }
    return static_cast<double>(received - warm) / to_seconds(length - kWarmUp);
  }

private:
  // The client's first stream is 0.
  std::uint64_t read(quic::Connection& node) {
    std::uint64_t total = 0;
    for (ByteView piece = node.readable(0); !piece.empty(); piece = node.readable(0)) {
      total += piece.size();
      node.consume(0, piece.size(), now_);
    }
    return total;
  }

  void send(std::size_t to, ByteView bytes) {
    if (rng_.chance(link_.loss)) return;
    Instant& free_at = free_at_[to];
    free_at = std::max(free_at, now_);
    const double waiting = to_seconds(free_at - now_) * link_.bytes_per_second;
    if (waiting > static_cast<double>(link_.queue_bytes)) return;
    free_at += from_seconds(static_cast<double>(bytes.size() + kHeaders) / link_.bytes_per_second);
    wires_[to].emplace_back(free_at + link_.delay, to_bytes(bytes));
  }

  void advance(Instant end) {
    Instant next = end;
    for (const auto& wire : wires_)
      if (!wire.empty()) next = std::min(next, wire.front().first);
    for (const auto& node : nodes_)
      if (const auto due = node->next_timeout()) next = std::min(next, *due);
    now_ = std::max(now_, next);
    for (std::size_t i = 0; i < 2; ++i) {
      for (auto& wire = wires_[i]; !wire.empty() && wire.front().first <= now_; wire.pop_front())
        nodes_[i]->on_datagram(wire.front().second, now_);
      nodes_[i]->on_timeout(now_);
    }
  }

  SeededRng rng_;
  Link link_;
  Instant now_{};
  std::array<std::unique_ptr<quic::Connection>, 2> nodes_;
  std::array<std::deque<std::pair<Instant, Bytes>>, 2> wires_;
  std::array<Instant, 2> free_at_{};
};

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, double usual) { return argc > i ? std::strtod(argv[i], nullptr) : usual; };
  const double mbit = number(1, 1000), rtt_ms = number(2, 40), loss = number(3, 1), seconds = number(4, 8);
  crypto_init();
  Link link{mbit * 125'000, loss / 100, from_seconds(rtt_ms / 2000), 0};
  link.queue_bytes = static_cast<std::size_t>(link.bytes_per_second * rtt_ms / 1000);
  const double most = link.bytes_per_second * (1 - link.loss) *
                      static_cast<double>(kDatagram - kQuicOverhead) /
                      static_cast<double>(kDatagram + kHeaders);
  fmt::print("{:g} Mbit/s, {:g} ms, {:g} % lost, one stream for {:g} s\n", mbit, rtt_ms, loss, seconds);
  using enum quic::Controller;
  for (const auto& [name, controller] : {std::pair{"bbr", Bbr}, {"bbr2", Bbr2}, {"cubic", Cubic}}) {
    const double rate = World(link, controller).run(from_seconds(seconds));
    fmt::print("  {:6} {:7.1f} Mbit/s, {:.2f} of the link\n", name, rate / 125'000, rate / most);
  }
}
