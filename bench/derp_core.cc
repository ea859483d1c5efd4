// Packets through the relay core in memory: no sockets, one sender, 64 KiB reads.
// Goal: well above what a socket can carry, so that the core never decides a relay's speed:
// 3 million packets of 1400 bytes a second to one receiver, and 5 GB/s of 32 KiB packets, on one core.
#include <cstdio>
#include <ctime>

#include "base/check.hh"
#include "derp/login.hh"
#include "derp/server_core.hh"
#include "wire/derp_frame.hh"

using namespace dh;

namespace {

void measure(std::size_t packet_bytes, std::size_t peers) {
  SeededRng rng(1);
  Instant now{};
  derp::ServerCore core({}, KeyPair::generate(rng), now, rng);
  std::vector<KeyPair> keys;
  for (std::size_t i = 0; i <= peers; ++i) keys.push_back(KeyPair::generate(rng));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    core.on_connect(i, {}, now);
    Bytes info;
    CHECK(derp::append_client_info(info, {}, keys[i], core.public_key(), rng));
    core.on_bytes(i, info, now);
  }
  // Connection 0 sends to the others in turn.
  Bytes stream;
  Writer w(stream);
  const Bytes packet(packet_bytes);
  for (std::size_t i = 0; stream.size() < 4u << 20; ++i)
    wire::derp::SendPacketFrame{keys[1 + i % peers].pub, packet}.serialize(w);

  constexpr std::size_t kRead = 64u << 10;
  Bytes batch;
  const std::clock_t start = std::clock();  // of the processor: others may use the machine
  double seconds = 0;
  while (seconds < 1) {
    for (ByteView rest = stream; !rest.empty(); rest = rest.subspan(std::min(kRead, rest.size()))) {
      core.on_bytes(0, rest.first(std::min(kRead, rest.size())), now);
      while (auto id = core.poll_ready()) {
        if (core.take_output(*id, batch, now)) core.on_written(*id, now);
      }
    }
    seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  }
  const auto& counters = core.counters();
  std::printf("%6zu B, %4zu receivers: %6.2f M packets/s  %6.2f GB/s  dropped %llu\n", packet_bytes, peers,
              static_cast<double>(counters.packets_sent) / seconds / 1e6,
              static_cast<double>(counters.bytes_sent) / seconds / 1e9,
              static_cast<unsigned long long>(counters.dropped_queue_head));
}

}  // namespace

int main() {
  crypto_init();
  for (std::size_t peers : {1u, 100u}) {
    measure(100, peers);
    measure(1400, peers);
    measure(32u << 10, peers);
  }
}
