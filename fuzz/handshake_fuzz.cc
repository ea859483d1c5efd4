// Two things: strangers' datagrams against parsers, gate and dialer; and a live handshake whose packets the
// input drops, doubles, delays and alters. Whatever happens: at most one claim is accepted, both ends of it
// have the same keys, and an altered packet never counts.

#include <cstdlib>

#include "session/handshake_world.hh"

namespace {

using namespace dh;
using namespace dh::session;

void require(bool condition) {
  if (!condition) std::abort();
}

template <typename Message>
void check_round_trip(ByteView input) {
  const auto message = Message::parse(input);
  if (message) require(equal_bytes(message->serialize(), input));
}

void check_stranger(ByteView input) {
  check_round_trip<wire::HandshakeM1>(input);
  check_round_trip<wire::HandshakeM2>(input);
  check_round_trip<wire::CookieReply>(input);
  World world(1);
  Dialer& dialer = world.dial();
  world.drain();
  const std::string name = relay_name(world.token.relays[0]);
  require(!world.gate->on_packet(name, filled_key(1), input, world.now, kWall));
  require(!world.gate->poll_packet());
  dialer.initiator->on_packet(input, world.now);
  require(dialer.initiator->state() == InitiatorState::Knocking);
}

void check_live(ByteView input) {
  Reader operations(input);
  World world(operations.u8());
  world.dial();
  world.dial();
  world.tamper = [&](const PublicKey& from, const PublicKey& to, Bytes& bytes) {
    const std::uint8_t operation = operations.u8();
    switch (operation & 7) {
      case 1:
        return false;
      case 2:
        world.deliver(from, to, bytes);
        return true;
      case 3:
        bytes[operations.u16() % bytes.size()] ^= std::byte{static_cast<unsigned char>(operations.u8() | 1)};
        return true;
      case 4:
        bytes.resize(operations.u16() % bytes.size());
        return true;
      case 5:
        world.deliver(to, from, bytes);
        return true;
      case 6:
        world.flying.emplace(world.now + std::chrono::milliseconds(operations.u16()),
                             World::Packet{from, to, bytes});
        return (operation & 8) != 0;
      default:
        return true;
    }
  };
  world.run(30s);
  require(world.arrived.size() <= 1);
  require(world.gate->counters().accepted == world.arrived.size());
  require(world.gate->pending() <= ClaimGate::kMaxPending);
  for (const auto& dialer : world.dialers) {
    require(!dialer->wrong_credentials);
    require(dialer->heard.size() <= 1);
    if (dialer->answer<ClaimAccepted>() == nullptr) continue;
    require(world.arrived.size() == 1 && world.arrived[0].keys.exporter == dialer->keys->exporter);
  }
  // Once the network behaves, who starts now gets an answer; an older dialer whose claim was lost for longer
  // than the listener waits has to start again too.
  world.tamper = nullptr;
  const Dialer& last = world.dial();
  require(world.run(60s, [&] { return !last.heard.empty(); }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (data[0] & 1) {
    check_live(input.subspan(1));
  } else {
    check_stranger(input.subspan(1));
  }
  return 0;
}
