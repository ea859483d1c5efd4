#include "session/code_keys.hh"

#include <fmt/format.h>
#include <sodium.h>

#include "base/check.hh"
#include "crypto/hash.hh"
#include "crypto/seal_watch.hh"

namespace dh::session {
namespace {

constexpr std::string_view kLabel = "dx-code/1";

std::optional<Secret<32>> stretch(const Code& code, std::string_view purpose, std::string_view place,
                                  std::int64_t hour, const StretchCost& cost) {
  Bytes number;
  Writer(number).u64(static_cast<std::uint64_t>(hour));
  const auto hash = blake2b_256({lv_cat({as_bytes(kLabel), as_bytes(purpose), as_bytes(place), number})});
  static_assert(crypto_pwhash_SALTBYTES <= hash.size());
  std::string words = code.meeting_text();
  Secret<32> out;
  const int failed = crypto_pwhash(out.uchar(), 32, words.data(), words.size(), as_uchar(ByteView(hash)),
                                   cost.passes, cost.memory_bytes, crypto_pwhash_ALG_ARGON2ID13);
  sodium_memzero(words.data(), words.size());
  if (failed != 0) return std::nullopt;
  return out;
}

Secret<32> gift_key(const CpaceKeys& keys) {
  return hkdf_expand<32>(keys.isk, as_bytes("dx-code box"));
}

// One key seals one text: it comes from a fresh exchange.
constexpr ByteArray<crypto_aead_chacha20poly1305_ietf_NPUBBYTES> kZeroNonce{};

// What a side says of itself: "ADa" and "ADb" of CPace.
Bytes side_data(const PublicKey& key, std::uint32_t capabilities) {
  Bytes data;
  Writer out(data);
  out.bytes(key.bytes);
  out.u8(wire::kCodeVersion);
  out.u32(capabilities);
  return data;
}

}  // namespace

std::string place_of_region(std::uint32_t region) {
  return fmt::format("region {}", region);
}

std::string place_of_server(const RelayRef& relay) {
  return "relay " + relay_name(relay);
}

std::string place_on_lan(const ByteArray<32>& pin) {
  return "lan " + to_hex(pin);
}

std::int64_t meeting_hour(UnixSeconds wall) {
  return std::chrono::floor<std::chrono::hours>(wall).time_since_epoch().count();
}

std::vector<std::int64_t> hours_to_try(UnixSeconds wall) {
  constexpr auto kClocksApart = std::chrono::minutes(5);
  const std::int64_t hour = meeting_hour(wall);
  std::vector<std::int64_t> hours{hour, hour - 1};
  if (meeting_hour(wall + kClocksApart) != hour) hours.insert(hours.begin() + 1, hour + 1);
  return hours;
}

std::optional<KeyPair> meeting_key(const Code& code, std::string_view place, std::int64_t hour,
                                   const StretchCost& cost) {
  const auto secret = stretch(code, "meeting key", place, hour, cost);
  if (!secret) return std::nullopt;
  return KeyPair::from_private(*secret);
}

std::optional<LanKeys> lan_keys(const Code& code, std::int64_t hour, const StretchCost& cost) {
  const auto secret = stretch(code, "lan", "", hour, cost);
  if (!secret) return std::nullopt;
  LanKeys keys;
  keys.tag = blake2b_mac(secret->expose(), as_bytes("dx-code lan tag"));
  const Secret<64> wide = hmac_sha512(secret->expose(), {as_bytes("dx-code lan answer")});
  std::memcpy(keys.answer_key.uchar(), wide.uchar(), 32);
  return keys;
}

Bytes receiver_data(const MeetingContext& context, std::uint32_t capabilities) {
  return side_data(context.receiver_key, capabilities);
}

Bytes sender_data(const MeetingContext& context, std::uint32_t capabilities) {
  return side_data(context.meeting_key, capabilities);
}

Cpace make_code_cpace(Cpace::Side side, const MeetingContext& context, const wire::CodeNonce& receiver_nonce,
                      const wire::CodeNonce& sender_nonce, std::uint32_t own_capabilities, Rng& rng) {
  std::string password = std::string(kLabel) + ":" + context.secret_text;
  const Bytes channel = lv_cat(
      {as_bytes(kLabel), as_bytes("R"), as_bytes("S"), as_bytes(context.place), context.meeting_key.bytes});
  Bytes session_id = to_bytes(receiver_nonce);
  session_id.insert(session_id.end(), sender_nonce.begin(), sender_nonce.end());
  Cpace cpace(side, {as_bytes(password), channel, session_id},
              side == Cpace::Side::Initiator ? receiver_data(context, own_capabilities)
                                             : sender_data(context, own_capabilities),
              rng);
  sodium_memzero(password.data(), password.size());
  return cpace;
}

Bytes seal_gift(const CpaceKeys& keys, std::string_view token_text) {
  const Secret<32> key = gift_key(keys);
  Bytes sealed(token_text.size() + crypto_aead_chacha20poly1305_ietf_ABYTES);
  note_seal(key.expose(), kZeroNonce);
  crypto_aead_chacha20poly1305_ietf_encrypt(as_uchar(ByteSpan(sealed)), nullptr,
                                            as_uchar(as_bytes(token_text)), token_text.size(), nullptr, 0,
                                            nullptr, as_uchar(ByteView(kZeroNonce)), key.uchar());
  return sealed;
}

std::optional<std::string> open_gift(const CpaceKeys& keys, ByteView sealed) {
  if (sealed.size() < crypto_aead_chacha20poly1305_ietf_ABYTES) return std::nullopt;
  const Secret<32> key = gift_key(keys);
  std::string text(sealed.size() - crypto_aead_chacha20poly1305_ietf_ABYTES, '\0');
  if (crypto_aead_chacha20poly1305_ietf_decrypt(reinterpret_cast<unsigned char*>(text.data()), nullptr,
                                                nullptr, as_uchar(sealed), sealed.size(), nullptr, 0,
                                                as_uchar(ByteView(kZeroNonce)), key.uchar()) != 0)
    return std::nullopt;
  return text;
}

}  // namespace dh::session
