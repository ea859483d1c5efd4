#include "session/lan_meeting.hh"

#include <algorithm>

#include <sodium.h>

#include "base/check.hh"
#include "crypto/hash.hh"
#include "crypto/seal_watch.hh"

namespace dh::session {
namespace {

using wire::LanAnswer;
using wire::LanQuestion;

ByteArray<crypto_aead_xchacha20poly1305_ietf_NPUBBYTES> full_nonce(const LanAnswer& answer) {
  ByteArray<crypto_aead_xchacha20poly1305_ietf_NPUBBYTES> nonce;
  static_assert(sizeof answer.nonce + sizeof answer.salt == nonce.size());
  std::copy(answer.salt.begin(), answer.salt.end(),
            std::copy(answer.nonce.begin(), answer.nonce.end(), nonce.begin()));
  return nonce;
}

}  // namespace

LanAnswerer::LanAnswerer(LanKeys keys, LanRelay relay, Rng& rng)
    : keys_(std::move(keys)), relay_(relay), rng_(rng) {}

std::optional<Bytes> LanAnswerer::on_question(ByteView packet, Instant now) {
  const auto question = LanQuestion::parse(packet);
  if (!question) {
    ++counters_.malformed;
    return std::nullopt;
  }
  ++counters_.questions;
  const bool ours = std::any_of(question->tags.begin(), question->tags.end(),
                                [this](const auto& tag) { return constant_time_equal(tag, keys_.tag); });
  if (!ours) return std::nullopt;
  if (!bucket_.take(now, kEvery, kBurst)) {
    ++counters_.rate_limited;
    return std::nullopt;
  }
  ++counters_.answered;
  LanAnswer answer;
  answer.nonce = question->nonce;
  rng_.fill(answer.salt);
  Bytes plain;
  Writer out(plain);
  out.u16(relay_.port);
  out.bytes(relay_.pin);
  const Bytes head = answer.serialize();
  note_seal(keys_.answer_key.expose(), full_nonce(answer));
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      as_uchar(ByteSpan(answer.sealed)), nullptr, as_uchar(ByteView(plain)), plain.size(),
      as_uchar(ByteView(head)), LanAnswer::kSealedAt, nullptr, as_uchar(ByteView(full_nonce(answer))),
      keys_.answer_key.uchar());
  static_assert(LanAnswer::kSize <= LanQuestion::kSize);
  return answer.serialize();
}

LanAsker::LanAsker(std::vector<LanKeys> keys, Rng& rng) : keys_(std::move(keys)) {
  CHECK(!keys_.empty() && keys_.size() <= LanQuestion::kMaxTags);
  rng.fill(nonce_);
  LanQuestion question;
  question.nonce = nonce_;
  for (const LanKeys& key : keys_) question.tags.push_back(key.tag);
  question_ = question.serialize();
}

std::optional<LanRelay> LanAsker::on_answer(ByteView packet) const {
  const auto answer = LanAnswer::parse(packet);
  if (!answer || answer->nonce != nonce_) return std::nullopt;
  for (const LanKeys& keys : keys_) {
    ByteArray<LanAnswer::kSealedSize - crypto_aead_xchacha20poly1305_ietf_ABYTES> plain;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            as_uchar(ByteSpan(plain)), nullptr, nullptr, as_uchar(ByteView(answer->sealed)),
            answer->sealed.size(), as_uchar(packet), LanAnswer::kSealedAt,
            as_uchar(ByteView(full_nonce(*answer))), keys.answer_key.uchar()) != 0)
      continue;
    Reader in(plain);
    LanRelay relay;
    relay.port = in.u16();
    relay.pin = in.array<32>();
    if (relay.port != 0) return relay;
  }
  return std::nullopt;
}

}  // namespace dh::session
