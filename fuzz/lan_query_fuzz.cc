// Datagrams of strangers on the local network: what parses writes back the same; only who has the tag gets an
// answer, never a longer one; and nothing a stranger sends passes for an answer.

#include <cstdlib>

#include "session/lan_meeting.hh"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dh;
  using namespace dh::session;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (const auto question = wire::LanQuestion::parse(input))
    require(equal_bytes(question->serialize(), input));
  if (const auto answer = wire::LanAnswer::parse(input)) require(equal_bytes(answer->serialize(), input));
  crypto_init();
  SeededRng rng(1);
  LanKeys keys;
  rng.fill(keys.tag);
  LanAnswerer answerer(keys, {443, {}}, rng);
  const auto answer = answerer.on_question(input, Instant{});
  if (answer) {
    const auto question = wire::LanQuestion::parse(input);
    require(question && answer->size() <= size);
    bool asked = false;
    for (const auto& tag : question->tags) asked |= tag == keys.tag;
    require(asked);
  }
  LanKeys secret = keys;
  rng.fill(secret.answer_key.expose_mutable());
  require(!LanAsker({secret}, rng).on_answer(input));
  return 0;
}
