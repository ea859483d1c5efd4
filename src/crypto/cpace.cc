#include "crypto/cpace.hh"

#include <sodium.h>

#include "base/check.hh"
#include "crypto/hash.hh"

namespace dh {
namespace {

constexpr std::string_view kDsi = "CPaceRistretto255";
constexpr std::string_view kDsiIsk = "CPaceRistretto255_ISK";
constexpr std::size_t kHashBlock = 128;  // bytes of one SHA-512 input block

std::size_t length_size(std::size_t length) {
  std::size_t size = 1;
  for (; length >= 128; length >>= 7) ++size;
  return size;
}

void append_lv(Bytes& out, ByteView part) {
  std::size_t length = part.size();
  for (; length >= 128; length >>= 7) out.push_back(static_cast<std::byte>((length & 127) | 128));
  out.push_back(static_cast<std::byte>(length));
  out.insert(out.end(), part.begin(), part.end());
}

// The password fills the first block of the hash, so that what follows tells nothing about it by timing.
std::size_t pad_size(std::size_t password_size) {
  const std::size_t used =
      length_size(kDsi.size()) + kDsi.size() + length_size(password_size) + password_size;
  return used + 1 < kHashBlock ? kHashBlock - 1 - used : 0;
}

}  // namespace

Bytes lv_cat(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const ByteView part : parts) append_lv(out, part);
  return out;
}

CpacePoint cpace_generator(const CpaceInputs& inputs) {
  const Bytes pad(pad_size(inputs.password.size()));
  Bytes text = lv_cat({as_bytes(kDsi), inputs.password, pad, inputs.channel, inputs.session_id});
  Secret<64> hash(sha512({text}));
  sodium_memzero(text.data(), text.size());
  CpacePoint generator;
  CHECK(crypto_core_ristretto255_from_hash(as_uchar(ByteSpan(generator)), hash.uchar()) == 0);
  return generator;
}

Cpace::Cpace(Side side, const CpaceInputs& inputs, Bytes own_data, Rng& rng)
    : side_(side), session_id_(to_bytes(inputs.session_id)), own_data_(std::move(own_data)) {
  CpacePoint generator = cpace_generator(inputs);
  // A scalar of 0 or a generator that is the identity come with a probability of 2^-252.
  do {
    Secret<64> wide;
    rng.fill(wide.expose_mutable());
    crypto_core_ristretto255_scalar_reduce(scalar_.uchar(), wide.uchar());
  } while (crypto_scalarmult_ristretto255(as_uchar(ByteSpan(point_)), scalar_.uchar(),
                                          as_uchar(ByteView(generator))) != 0);
  sodium_memzero(generator.data(), generator.size());
}

std::optional<CpaceKeys> Cpace::finish(const CpacePoint& peer_point, ByteView peer_data) const {
  Secret<32> shared;
  if (crypto_scalarmult_ristretto255(shared.uchar(), scalar_.uchar(), as_uchar(ByteView(peer_point))) != 0)
    return std::nullopt;
  const Bytes own = lv_cat({point_, own_data_});
  const Bytes peer = lv_cat({peer_point, peer_data});
  const bool initiator = side_ == Side::Initiator;
  Bytes secret_part = lv_cat({as_bytes(kDsiIsk), session_id_, shared.expose()});
  CpaceKeys keys;
  keys.isk = Secret<64>(sha512({secret_part, initiator ? own : peer, initiator ? peer : own}));
  sodium_memzero(secret_part.data(), secret_part.size());
  const Secret<64> mac_key(sha512({as_bytes("CPaceMac"), session_id_, keys.isk.expose()}));
  keys.own_tag = hmac_sha512(mac_key.expose(), {own});
  keys.peer_tag = hmac_sha512(mac_key.expose(), {peer});
  return keys;
}

}  // namespace dh
