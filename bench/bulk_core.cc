// How fast the pure bulk core is: one sender and one receiver in one thread, datagrams handed over in memory,
// real AEAD. Goal: at least 8 Gbit/s with 32 KiB datagrams on one core.

#include <cstdio>
#include <ctime>
#include <deque>

#include "bulk/receiver.hh"
#include "bulk/sender.hh"

namespace {

using namespace dh;
using namespace dh::bulk;

struct Result {
  double seconds = 0;
  std::uint64_t packets = 0;
};

Result run(std::size_t datagram_bytes, std::uint64_t total, double loss) {
  StreamConfig config;
  config.send_buffer = 8u << 20;
  SeededRng rng(1), dice(2);
  Instant now{1s};
  Sender sender(config, now, rng);
  Receiver receiver(config, now, rng);
  const PathProperties path{.datagram_bytes = datagram_bytes, .is_relay = false, .initial_rtt = 1ms};
  receiver.add_path(0, path, now);
  sender.add_path(0, path, now);

  const Bytes block(1 << 20, std::byte{0x5a});
  struct Datagram {
    Bytes bytes;
    std::size_t size = 0;
  };
  std::vector<Datagram> burst(64);
  for (auto& datagram : burst) datagram.bytes.resize(datagram_bytes);
  Bytes ack(2048);
  std::uint64_t written = 0, read = 0;
  bool complete = false;

  const std::clock_t start = std::clock();  // processor time: a busy machine must not spoil it
  while (!complete) {
    if (written < total) {
      written += sender.write(ByteView(block).first(
          static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), total - written))));
    } else {
      sender.finish();
    }
    now += 50us;  // virtual time: fast enough that pacing never waits long
    sender.on_timeout(now);
    receiver.on_timeout(now);
    for (;;) {
      std::size_t count = 0;
      while (count < burst.size()) {
        const auto sent = sender.poll_transmit(burst[count].bytes, now);
        if (!sent) break;
        burst[count++].size = sent->size;
      }
      for (std::size_t i = 0; i < count; ++i)
        if (loss == 0 || !dice.chance(loss))
          receiver.on_datagram(0, ByteSpan(burst[i].bytes).first(burst[i].size), now);
      for (ByteView bytes = receiver.readable(); !bytes.empty(); bytes = receiver.readable()) {
        read += bytes.size();
        receiver.consume(bytes.size(), now);
      }
      bool answered = false;
      while (const auto sent = receiver.poll_transmit(ack, now)) {
        sender.on_datagram(0, ByteSpan(ack).first(sent->size), now);
        answered = true;
      }
      if (count == 0 && !answered) break;
    }
    while (const auto event = receiver.poll_event())
      if (std::holds_alternative<StreamEnded>(*event)) receiver.confirm(now);
    while (const auto event = sender.poll_event()) complete = std::holds_alternative<StreamComplete>(*event);
  }
  const std::clock_t end = std::clock();
  if (read != total) std::printf("LOST BYTES: %llu\n", static_cast<unsigned long long>(total - read));
  return {static_cast<double>(end - start) / CLOCKS_PER_SEC, sender.counters().packets_sent};
}

}  // namespace

int main() {
  constexpr std::uint64_t kTotal = std::uint64_t{2} << 30;
  std::printf("%10s %8s %10s %12s\n", "datagram", "loss", "Gbit/s", "ns/packet");
  for (const std::size_t bytes : {std::size_t{32 * 1024}, std::size_t{16 * 1024}, std::size_t{1400}})
    for (const double loss : {0.0, 0.01}) {
      const Result result = run(bytes, kTotal, loss);
      std::printf("%10zu %7.0f%% %10.2f %12.0f\n", bytes, loss * 100,
                  static_cast<double>(kTotal) * 8e-9 / result.seconds,
                  result.seconds * 1e9 / static_cast<double>(result.packets));
    }
}
