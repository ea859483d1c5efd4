#pragma once

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "crypto/secret.hh"

namespace dh::quic {

/// How GnuTLS finds its way back to ngtcp2's connection and to the key.
struct ConnectionRef : ngtcp2_crypto_conn_ref {
  Secret<32> psk;
};

struct TlsOptions {
  bool server = false;
  bool prefers_aes = true;       // AES-128-GCM if both do, else ChaCha20-Poly1305
  bool own_packet_keys = false;  // see use_own_packet_keys()
};

/// The TLS 1.3 session of one connection: an external pre-shared key together with X25519, nothing else.
class TlsSession {
public:
  /// `ref` must outlive it. CHECKs that GnuTLS can do what we ask for.
  TlsSession(const TlsOptions& options, ConnectionRef& ref);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  gnutls_session_t handle() const { return session_; }
  /// After the handshake: a fresh Diffie-Hellman exchange took place under our key and our protocol's name.
  bool is_what_was_asked_for() const;

private:
  static int find_key(gnutls_session_t session, const char* name, gnutls_datum_t* key);

  gnutls_session_t session_ = nullptr;
  gnutls_psk_client_credentials_t client_ = nullptr;
  gnutls_psk_server_credentials_t server_credentials_ = nullptr;
};

}  // namespace dh::quic
