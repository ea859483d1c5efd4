// Two things: strangers' packets against parser, sender and receiver; and a live meeting whose packets the
// input drops, doubles, delays, alters and sends under other names. Whatever happens: at most kCodeTries
// wrong tries, at most one receiver gets the token and it is whole, a receiver with wrong words never does,
// nobody makes a second guess, and the token never crosses the relay in clear.

#include <cstdlib>
#include <set>

#include "session/code_world.hh"

namespace {

using namespace dh;
using namespace dh::session;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_stranger(ByteView input) {
  if (const auto message = wire::parse_code_msg(input)) require(equal_bytes(serialize(*message), input));
  CodeWorld world;
  require(world.open());
  auto& receiver = world.receive();
  world.drain();
  world.sender->on_packet(CodeLine::Meeting, PublicKey{}, input, world.now);
  receiver.core->on_packet(PublicKey{}, input, world.now);
  receiver.core->on_packet(world.meeting.pub, input, world.now);
  require(world.sender->state() == CodeSenderState::Open);
  require(!receiver.has_token());
  require(world.run(10s, [&] { return receiver.core->result().has_value(); }));
}

void check_live(ByteView input) {
  Reader operations(input);
  CodeWorld world(operations.u8());
  require(world.open());
  std::map<PublicKey, std::set<Bytes>> proofs;
  std::vector<CodeWorld::Packet> recorded;
  world.tamper = [&](const PublicKey& from, const PublicKey& to, Bytes& bytes) {
    require(as_text(bytes).find(kCodeToken) == std::string_view::npos);
    if (!bytes.empty() && bytes[0] == std::byte{wire::CodeProof::kType}) proofs[from].insert(bytes);
    if (recorded.size() < 64) recorded.push_back({from, to, bytes});
    switch (operations.u8() & 7) {
      case 1:
        return false;
      case 2:
        world.flying.emplace(world.now + world.delay, CodeWorld::Packet{from, to, bytes});
        return true;
      case 3:
        bytes[operations.u16() % bytes.size()] ^= std::byte{static_cast<unsigned char>(operations.u8() | 1)};
        return true;
      case 4:
        bytes.resize(operations.u16() % bytes.size());
        return true;
      case 5: {
        const auto& old = recorded[operations.u8() % recorded.size()];
        world.flying.emplace(world.now, CodeWorld::Packet{from, old.to, old.bytes});
        return true;
      }
      case 6:
        world.flying.emplace(world.now + std::chrono::milliseconds(operations.u16()),
                             CodeWorld::Packet{from, to, bytes});
        return false;
      default:
        return true;
    }
  };
  world.receive();
  world.receive("able-zone");
  world.run(12s);
  world.receive();
  world.run(60s);
  require(world.all<CodeWrongTry>().size() <= kCodeTries);
  require(world.all<CodeHandedOver>().size() <= 1);
  require(world.all<CodeEnded>().size() <= 1);
  unsigned served = 0;
  for (const auto& receiver : world.receivers) {
    if (receiver->core->result() && *receiver->core->result()) require(receiver->has_token());
    served += receiver->has_token() ? 1 : 0;
  }
  require(served <= 1 && !world.receivers[1]->has_token());
  for (const auto& [from, different] : proofs) require(different.size() <= 1);
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
