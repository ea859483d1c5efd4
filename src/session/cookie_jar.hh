#pragma once

#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/hash.hh"
#include "crypto/keys.hh"
#include "wire/handshake_msg.hh"

namespace dh::session {

/// Makes and checks the cookies a listener demands under load: proof that the sender receives what is sent to
/// its DERP key. Spec: docs/protocol/handshake.md "Cookies" (after WireGuard's).
class CookieJar {
public:
  static constexpr Duration kRotateEvery = 120s;

  CookieJar(const PublicKey& listener_static, Instant now, Rng& rng);
  /// The reply to an M1 of `from`.
  wire::CookieReply reply(const PublicKey& from, const wire::HandshakeM1& m1, Instant now);
  /// Whether `packet`, a whole M1 of `from`, carries a mac2 under its cookie.
  bool verify(const PublicKey& from, ByteView packet, Instant now);

private:
  void rotate(Instant now);
  ByteArray<16> cookie(const PublicKey& from) const;

  ByteArray<32> key_;
  Rng& rng_;
  Secret<32> secret_;
  Instant rotate_at_;
};

/// The dialer's side. Errors: nullopt when it does not open: not by the listener, or for another M1.
std::optional<ByteArray<16>> open_cookie(const ByteArray<32>& cookie_key, const wire::CookieReply& reply,
                                         const wire::HandshakeMac& mac1);
/// mac2 over everything before it in a serialised M1.
wire::HandshakeMac make_mac2(const ByteArray<16>& cookie, ByteView packet);

}  // namespace dh::session
