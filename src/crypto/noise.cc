#include "crypto/noise.hh"

#include <algorithm>
#include <array>

#include <sodium.h>

#include "base/check.hh"
#include "crypto/hash.hh"
#include "crypto/seal_watch.hh"

namespace dh {
namespace {

// The twelve interactive patterns of Noise §7.5: who knows whose static key beforehand, then the messages,
// the initiator's first.
struct Pattern {
  std::string_view name;
  bool initiator_known, responder_known;
  std::array<std::string_view, 3> messages;  // the last is empty in patterns of two
};
constexpr Pattern kPatterns[] = {
    {"NN", false, false, {"e", "e ee", ""}},           {"NK", false, true, {"e es", "e ee", ""}},
    {"NX", false, false, {"e", "e ee s es", ""}},      {"XN", false, false, {"e", "e ee", "s se"}},
    {"XK", false, true, {"e es", "e ee", "s se"}},     {"XX", false, false, {"e", "e ee s es", "s se"}},
    {"KN", true, false, {"e", "e ee se", ""}},         {"KK", true, true, {"e es ss", "e ee se", ""}},
    {"KX", true, false, {"e", "e ee se s es", ""}},    {"IN", false, false, {"e s", "e ee se", ""}},
    {"IK", false, true, {"e es s ss", "e ee se", ""}}, {"IX", false, false, {"e s", "e ee se s es", ""}},
};

struct NamedPattern {
  const Pattern* pattern = nullptr;  // null: unknown
  std::optional<std::size_t> psk;    // the N of "pskN"
};

NamedPattern find_pattern(std::string_view name) {
  NamedPattern found;
  const std::string_view base = name.substr(0, 2);
  const std::string_view modifier = name.substr(base.size());
  const auto* pattern = std::find_if(std::begin(kPatterns), std::end(kPatterns),
                                     [base](const Pattern& p) { return p.name == base; });
  if (pattern == std::end(kPatterns)) return {};
  if (!modifier.empty()) {
    const std::size_t count = pattern->messages[2].empty() ? 2 : 3;
    if (modifier.size() != 4 || !modifier.starts_with("psk")) return {};
    const auto place = static_cast<std::size_t>(modifier[3] - '0');
    if (place > count) return {};
    found.psk = place;
  }
  found.pattern = pattern;
  return found;
}

std::string protocol_name(std::string_view pattern) {
  return "Noise_" + std::string(pattern) + "_25519_ChaChaPoly_SHA512";
}

// Noise §5.1: 32 zero bits, then the counter little-endian.
std::array<unsigned char, 12> nonce_bytes(std::uint64_t nonce) {
  std::array<unsigned char, 12> out{};
  for (std::size_t i = 4; i < 12; ++i, nonce >>= 8) out[i] = static_cast<unsigned char>(nonce & 0xff);
  return out;
}

// Noise §4.3: the first `Count` outputs of its HKDF.
template <std::size_t Count>
std::array<Secret<64>, Count> noise_hkdf(const Secret<64>& chaining_key, ByteView input) {
  const Secret<64> temp = hmac_sha512(chaining_key.expose(), {input});
  std::array<Secret<64>, Count> out;
  for (std::size_t i = 0; i < Count; ++i) {
    const std::byte number{static_cast<unsigned char>(i + 1)};
    const ByteView previous = i == 0 ? ByteView() : ByteView(out[i - 1].expose());
    out[i] = hmac_sha512(temp.expose(), {previous, ByteView(&number, 1)});
  }
  return out;
}

Secret<32> first_half(const Secret<64>& secret) {
  Secret<32> out;
  std::memcpy(out.uchar(), secret.uchar(), 32);
  return out;
}

}  // namespace

std::string_view to_string(NoiseError error) {
  switch (error) {
    case NoiseError::Truncated:
      return "truncated";
    case NoiseError::BadPoint:
      return "low-order public key";
    case NoiseError::Forged:
      return "does not authenticate";
  }
  return "unknown";
}

Bytes NoiseCipher::encrypt(ByteView aad, ByteView plain) {
  if (!key_) return to_bytes(plain);
  CHECK(nonce_ != UINT64_MAX);
  const auto nonce = nonce_bytes(nonce_++);
  note_seal(key_->expose(), std::as_bytes(std::span(nonce)));
  Bytes out(plain.size() + kTagSize);
  crypto_aead_chacha20poly1305_ietf_encrypt(as_uchar(ByteSpan(out)), nullptr, as_uchar(plain), plain.size(),
                                            as_uchar(aad), aad.size(), nullptr, nonce.data(), key_->uchar());
  return out;
}

std::optional<Bytes> NoiseCipher::decrypt(ByteView aad, ByteView sealed) {
  if (!key_) return to_bytes(sealed);
  if (sealed.size() < kTagSize || nonce_ == UINT64_MAX) return std::nullopt;
  const auto nonce = nonce_bytes(nonce_);
  Bytes out(sealed.size() - kTagSize);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(as_uchar(ByteSpan(out)), nullptr, nullptr, as_uchar(sealed),
                                                sealed.size(), as_uchar(aad), aad.size(), nonce.data(),
                                                key_->uchar()) != 0)
    return std::nullopt;
  ++nonce_;
  return out;
}

NoiseSymmetric::NoiseSymmetric(std::string_view name) {
  hash_.fill(std::byte{0});
  if (name.size() <= hash_.size()) {
    std::memcpy(hash_.data(), name.data(), name.size());
  } else {
    hash_ = sha512({as_bytes(name)});
  }
  chaining_key_ = Secret<64>(hash_);
}

void NoiseSymmetric::mix_hash(ByteView data) {
  hash_ = sha512({hash_, data});
}

void NoiseSymmetric::mix_key(ByteView input) {
  const auto out = noise_hkdf<2>(chaining_key_, input);
  chaining_key_ = out[0];
  cipher_ = NoiseCipher(first_half(out[1]));
}

void NoiseSymmetric::mix_key_and_hash(ByteView input) {
  const auto out = noise_hkdf<3>(chaining_key_, input);
  chaining_key_ = out[0];
  mix_hash(out[1].expose());
  cipher_ = NoiseCipher(first_half(out[2]));
}

Bytes NoiseSymmetric::seal_and_hash(ByteView plain) {
  Bytes out = cipher_.encrypt(hash_, plain);
  mix_hash(out);
  return out;
}

std::optional<Bytes> NoiseSymmetric::open_and_hash(ByteView sealed) {
  auto out = cipher_.decrypt(hash_, sealed);
  if (out) mix_hash(sealed);
  return out;
}

std::pair<NoiseCipher, NoiseCipher> NoiseSymmetric::split() const {
  const auto out = noise_hkdf<2>(chaining_key_, {});
  return {NoiseCipher(first_half(out[0])), NoiseCipher(first_half(out[1]))};
}

bool NoiseHandshake::is_known(std::string_view pattern) {
  return find_pattern(pattern).pattern != nullptr;
}

NoiseHandshake::Words NoiseHandshake::parse_words(std::string_view text) {
  Words words;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (word == "e") words.push_back(Word::E);
    if (word == "s") words.push_back(Word::S);
    if (word == "ee") words.push_back(Word::Ee);
    if (word == "es") words.push_back(Word::Es);
    if (word == "se") words.push_back(Word::Se);
    if (word == "ss") words.push_back(Word::Ss);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return words;
}

NoiseHandshake::NoiseHandshake(const NoiseConfig& config)
    : symmetric_(protocol_name(config.pattern)),
      initiator_(config.initiator),
      local_static_(config.local_static),
      remote_static_(config.remote_static),
      psk_(config.psk) {
  const auto [pattern, psk_place] = find_pattern(config.pattern);
  CHECK(pattern != nullptr);
  for (std::string_view text : pattern->messages) {
    if (!text.empty()) messages_.push_back(parse_words(text));
  }
  if (psk_place) {
    CHECK(psk_.has_value());
    has_psk_ = true;
    Words& words = messages_[*psk_place == 0 ? 0 : *psk_place - 1];
    words.insert(*psk_place == 0 ? words.begin() : words.end(), Word::Psk);
  }

  symmetric_.mix_hash(config.prologue);
  const bool local_known = initiator_ ? pattern->initiator_known : pattern->responder_known;
  const bool remote_known = initiator_ ? pattern->responder_known : pattern->initiator_known;
  CHECK(!local_known || local_static_);
  CHECK(remote_known == remote_static_.has_value());
  if (pattern->initiator_known)
    symmetric_.mix_hash(initiator_ ? local_static_->pub.bytes : remote_static_->bytes);
  if (pattern->responder_known)
    symmetric_.mix_hash(initiator_ ? remote_static_->bytes : local_static_->pub.bytes);
}

// The first letter names the initiator's key, the second the responder's.
bool NoiseHandshake::mix_dh(Word word) {
  const bool initiator_ephemeral = word == Word::Ee || word == Word::Es;
  const bool responder_ephemeral = word == Word::Ee || word == Word::Se;
  const bool local = initiator_ ? initiator_ephemeral : responder_ephemeral;
  const bool remote = initiator_ ? responder_ephemeral : initiator_ephemeral;
  const auto& ours = local ? local_ephemeral_ : local_static_;
  const auto& theirs = remote ? remote_ephemeral_ : remote_static_;
  CHECK(ours && theirs);
  const auto shared = x25519(ours->secret, *theirs);
  if (!shared) return false;
  symmetric_.mix_key(shared->expose());
  return true;
}

std::expected<Bytes, NoiseError> NoiseHandshake::write_message(ByteView payload, Rng& rng) {
  CHECK(my_turn());
  Bytes out;
  Writer writer(out);
  for (const Word word : messages_[next_]) {
    switch (word) {
      case Word::E:
        local_ephemeral_ = KeyPair::generate(rng);
        writer.bytes(local_ephemeral_->pub.bytes);
        symmetric_.mix_hash(local_ephemeral_->pub.bytes);
        if (has_psk_) symmetric_.mix_key(local_ephemeral_->pub.bytes);
        break;
      case Word::S:
        CHECK(local_static_.has_value());
        writer.bytes(symmetric_.seal_and_hash(local_static_->pub.bytes));
        break;
      case Word::Psk:
        symmetric_.mix_key_and_hash(psk_->expose());
        break;
      case Word::Ee:
      case Word::Es:
      case Word::Se:
      case Word::Ss:
        if (!mix_dh(word)) return std::unexpected(NoiseError::BadPoint);
        break;
    }
  }
  writer.bytes(symmetric_.seal_and_hash(payload));
  ++next_;
  return out;
}

std::expected<Bytes, NoiseError> NoiseHandshake::read_message(ByteView message) {
  CHECK(!finished() && !my_turn());
  Reader reader(message);
  for (const Word word : messages_[next_]) {
    switch (word) {
      case Word::E:
        remote_ephemeral_ = PublicKey{reader.array<32>()};
        if (!reader.ok()) return std::unexpected(NoiseError::Truncated);
        symmetric_.mix_hash(remote_ephemeral_->bytes);
        if (has_psk_) symmetric_.mix_key(remote_ephemeral_->bytes);
        break;
      case Word::S: {
        const ByteView sealed = reader.bytes(32 + symmetric_.tag_size());
        if (!reader.ok()) return std::unexpected(NoiseError::Truncated);
        const auto key = symmetric_.open_and_hash(sealed);
        if (!key) return std::unexpected(NoiseError::Forged);
        remote_static_ = PublicKey::from(std::span(*key).first<32>());
        break;
      }
      case Word::Psk:
        symmetric_.mix_key_and_hash(psk_->expose());
        break;
      case Word::Ee:
      case Word::Es:
      case Word::Se:
      case Word::Ss:
        if (!mix_dh(word)) return std::unexpected(NoiseError::BadPoint);
        break;
    }
  }
  if (reader.remaining() < symmetric_.tag_size()) return std::unexpected(NoiseError::Truncated);
  auto payload = symmetric_.open_and_hash(reader.rest());
  if (!payload) return std::unexpected(NoiseError::Forged);
  ++next_;
  return std::move(*payload);
}

Secret<64> NoiseHandshake::exporter(std::string_view label) const {
  CHECK(finished());
  return hmac_sha512(symmetric_.chaining_key().expose(), {as_bytes(label), symmetric_.hash()});
}

}  // namespace dh
