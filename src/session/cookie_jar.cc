#include "session/cookie_jar.hh"

#include <sodium.h>

#include "crypto/seal_watch.hh"
#include "session/handshake.hh"

namespace dh::session {

CookieJar::CookieJar(const PublicKey& listener_static, Instant now, Rng& rng)
    : key_(cookie_key(listener_static)), rng_(rng), rotate_at_(now + kRotateEvery) {
  rng_.fill(secret_.expose_mutable());
}

void CookieJar::rotate(Instant now) {
  if (now < rotate_at_) return;
  rng_.fill(secret_.expose_mutable());
  rotate_at_ = now + kRotateEvery;
}

ByteArray<16> CookieJar::cookie(const PublicKey& from) const {
  return blake2b_mac(secret_.expose(), from.bytes);
}

wire::CookieReply CookieJar::reply(const PublicKey& from, const wire::HandshakeM1& m1, Instant now) {
  rotate(now);
  wire::CookieReply reply;
  reply.receiver_index = m1.sender_index;
  rng_.fill(reply.nonce);
  const ByteArray<16> value = cookie(from);
  note_seal(key_, reply.nonce);
  crypto_aead_xchacha20poly1305_ietf_encrypt(as_uchar(ByteSpan(reply.sealed)), nullptr,
                                             as_uchar(ByteView(value)), value.size(),
                                             as_uchar(ByteView(m1.mac1)), m1.mac1.size(), nullptr,
                                             as_uchar(ByteView(reply.nonce)), as_uchar(ByteView(key_)));
  return reply;
}

bool CookieJar::verify(const PublicKey& from, ByteView packet, Instant now) {
  rotate(now);
  return constant_time_equal(make_mac2(cookie(from), packet), packet.subspan(wire::HandshakeM1::kMac2At));
}

std::optional<ByteArray<16>> open_cookie(const ByteArray<32>& key, const wire::CookieReply& reply,
                                         const wire::HandshakeMac& mac1) {
  ByteArray<16> value;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          as_uchar(ByteSpan(value)), nullptr, nullptr, as_uchar(ByteView(reply.sealed)), reply.sealed.size(),
          as_uchar(ByteView(mac1)), mac1.size(), as_uchar(ByteView(reply.nonce)),
          as_uchar(ByteView(key))) != 0)
    return std::nullopt;
  return value;
}

wire::HandshakeMac make_mac2(const ByteArray<16>& cookie, ByteView packet) {
  return blake2b_mac(cookie, packet.first(wire::HandshakeM1::kMac2At));
}

}  // namespace dh::session
