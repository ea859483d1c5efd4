// Control messages from an authenticated but hostile peer, and the channel through a hostile network: what
// arrives is exactly what was sent, in order, once.

#include <cstdlib>
#include <deque>

#include "session/control_channel.hh"

namespace {

using namespace dh;
using namespace dh::session;

void require(bool condition) {
  if (!condition) std::abort();
}

SessionKeys keys(bool initiator) {
  SessionKeys out;
  out.local_index = initiator ? 1 : 2;
  out.peer_index = initiator ? 2 : 1;
  out.initiator = initiator;
  return out;
}

void check_messages(ByteView input) {
  const auto message = wire::parse_session_msg(input);
  if (message) {
    const auto again = wire::parse_session_msg(wire::serialize(*message));
    require(again && *again == *message);
  }
  const auto body = wire::ControlBody::parse(input);
  if (body) {
    Bytes out;
    Writer writer(out);
    body->serialize(writer);
    require(equal_bytes(out, input));
  }
}

// The peer has the keys and seals whatever it likes.
void check_hostile_peer(ByteView input) {
  ControlChannel channel(keys(true));
  const Secret<64> exported = export_key(keys(true), "control r->i");
  Secret<32> key;
  std::memcpy(key.uchar(), exported.uchar(), 32);
  const auto peer = make_aead(AeadKind::ChaCha20Poly1305, key);
  Reader reader(input);
  Instant now{};
  std::uint64_t counter = 0;
  while (reader.ok() && reader.remaining() > 0) {
    const std::uint8_t operation = reader.u8();
    now += std::chrono::milliseconds(operation);
    if (operation & 1) channel.send(Bytes(1 + operation), now);
    wire::ControlBody body;
    body.next_expected = reader.u8();
    body.received = reader.u16();
    body.seq = reader.u8();
    if (body.seq != 0) body.message = Bytes(1 + reader.u16() % 1100);
    channel.on_packet(wire::seal_control(*peer, {1, counter++}, body), now);
    std::size_t burst = 0;
    while (channel.poll_packet(now)) require(++burst <= ControlChannel::kMaxQueued + 1);
    if (operation & 2) {
      while (auto message = channel.poll_message())
        require(!message->empty() && message->size() <= ControlChannel::kMaxMessage);
    }
    const auto due = channel.next_timeout();
    require(!due || *due > now);  // drained: nothing is due
  }
}

void check_network(ByteView input) {
  ControlChannel a(keys(true)), b(keys(false));
  std::deque<Bytes> expected_at_b, flying_to_a, flying_to_b;
  Reader reader(input);
  Instant now{};
  std::uint8_t next = 0;
  const auto receive = [&] {
    while (auto message = b.poll_message()) {
      require(!expected_at_b.empty() && *message == expected_at_b.front());
      expected_at_b.pop_front();
    }
  };
  while (reader.ok() && reader.remaining() > 0) {
    const std::uint8_t operation = reader.u8();
    now += std::chrono::milliseconds(operation);
    const Bytes message(1 + operation, static_cast<std::byte>(next));
    if ((operation & 3) == 0 && a.send(message, now)) {
      expected_at_b.push_back(message);
      ++next;
    }
    while (auto packet = a.poll_packet(now)) flying_to_b.push_back(std::move(*packet));
    while (auto packet = b.poll_packet(now)) flying_to_a.push_back(std::move(*packet));
    for (auto* flying : {&flying_to_a, &flying_to_b}) {
      if (flying->empty()) continue;
      ControlChannel& to = flying == &flying_to_a ? a : b;
      Bytes& packet = (*flying)[reader.u8() % flying->size()];
      const std::uint8_t fate = reader.u8();
      if ((fate & 3) == 3) {
        Bytes altered = packet;
        altered[fate % altered.size()] ^= std::byte{4};
        require(!to.on_packet(altered, now));
      } else {
        to.on_packet(packet, now);
      }
      if (fate & 4) flying->pop_front();
      if (flying->size() > 64) flying->pop_back();
    }
    receive();
  }
  for (int step = 0; step < 400 && !(a.all_acknowledged() && expected_at_b.empty()); ++step) {
    now += 100ms;
    while (auto packet = a.poll_packet(now)) b.on_packet(*packet, now);
    receive();
    now += 20ms;
    while (auto packet = b.poll_packet(now)) a.on_packet(*packet, now);
  }
  require(a.all_acknowledged() && expected_at_b.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0:
      check_messages(input);
      break;
    case 1:
      check_hostile_peer(input);
      break;
    case 2:
      check_network(input);
      break;
  }
  return 0;
}
