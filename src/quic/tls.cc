#include "quic/tls.hh"

#include <cstring>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string_view>

#include "base/bytes.hh"
#include "base/check.hh"
#include "quic/packet_keys.hh"

namespace dh::quic {
namespace {

// ECDHE-PSK without PSK: a handshake without forward secrecy does not exist here. The ciphers are those whose
// hash is the key's (SHA-256). One group, no middlebox games. The order of ciphers is the client's, unless
// the server wants no AES.
constexpr const char* kAesFirst =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:-GROUP-ALL:+GROUP-X25519:-CIPHER-ALL:+AES-128-GCM:"
    "+CHACHA20-POLY1305:%DISABLE_TLS13_COMPAT_MODE";
constexpr const char* kChaChaFirst =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:-GROUP-ALL:+GROUP-X25519:-CIPHER-ALL:"
    "+CHACHA20-POLY1305:+AES-128-GCM:%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE";
constexpr std::string_view kProtocol = "derphole-tunnel/1";
constexpr const char* kKeyName = "dh";

}  // namespace

TlsSession::TlsSession(const TlsOptions& options, ConnectionRef& ref) {
  CHECK(gnutls_init(&session_, (options.server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS) == 0);
  CHECK(gnutls_priority_set_direct(session_, options.prefers_aes ? kAesFirst : kChaChaFirst, nullptr) == 0);
  gnutls_session_set_ptr(session_, static_cast<ngtcp2_crypto_conn_ref*>(&ref));
  if (options.server) {
    CHECK(ngtcp2_crypto_gnutls_configure_server_session(session_) == 0);
    CHECK(gnutls_psk_allocate_server_credentials(&server_credentials_) == 0);
    gnutls_psk_set_server_credentials_function(server_credentials_, find_key);
    CHECK(gnutls_credentials_set(session_, GNUTLS_CRD_PSK, server_credentials_) == 0);
  } else {
    CHECK(ngtcp2_crypto_gnutls_configure_client_session(session_) == 0);
    CHECK(gnutls_psk_allocate_client_credentials(&client_) == 0);
    const gnutls_datum_t key{ref.psk.uchar(), 32};
    CHECK(gnutls_psk_set_client_credentials(client_, kKeyName, &key, GNUTLS_PSK_KEY_RAW) == 0);
    CHECK(gnutls_credentials_set(session_, GNUTLS_CRD_PSK, client_) == 0);
  }
  if (options.own_packet_keys) use_own_packet_keys(session_);
  Bytes name = to_bytes(as_bytes(kProtocol));
  const gnutls_datum_t protocol{as_uchar(ByteSpan(name)), static_cast<unsigned>(name.size())};
  CHECK(gnutls_alpn_set_protocols(session_, &protocol, 1, GNUTLS_ALPN_MANDATORY) == 0);
}

TlsSession::~TlsSession() {
  gnutls_deinit(session_);
  if (client_ != nullptr) gnutls_psk_free_client_credentials(client_);
  if (server_credentials_ != nullptr) gnutls_psk_free_server_credentials(server_credentials_);
}

int TlsSession::find_key(gnutls_session_t session, const char* name, gnutls_datum_t* key) {
  if (name == nullptr || std::string_view(name) != kKeyName) return -1;
  const auto* ref =
      static_cast<ConnectionRef*>(static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session)));
  key->data = static_cast<unsigned char*>(gnutls_malloc(32));
  if (key->data == nullptr) return -1;
  std::memcpy(key->data, ref->psk.uchar(), 32);
  key->size = 32;
  return 0;
}

bool TlsSession::is_what_was_asked_for() const {
  gnutls_datum_t protocol{};
  const bool named =
      gnutls_alpn_get_selected_protocol(session_, &protocol) == 0 &&
      std::string_view(reinterpret_cast<const char*>(protocol.data), protocol.size) == kProtocol;
  return named && gnutls_protocol_get_version(session_) == GNUTLS_TLS1_3 &&
         gnutls_group_get(session_) == GNUTLS_GROUP_X25519 && gnutls_kx_get(session_) == GNUTLS_KX_ECDHE_PSK;
}

}  // namespace dh::quic
