#pragma once

#include <cstdint>
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>

namespace dh::quic {

// Our own ciphers under the packets of an established connection (RFC 9001 §5), where GnuTLS spends a
// microsecond on each. The handshake's own packets stay GnuTLS's, so the contexts that ngtcp2 carries for us
// are of two kinds; the callbacks set here know which is which.

/// The callbacks that seal, open, hide and delete, for either kind of keys.
void set_packet_callbacks(ngtcp2_callbacks& callbacks);
/// From now on the session's secrets for application data become keys of ours, those after key updates
/// included. Call after ngtcp2_crypto_gnutls_configure_*_session(), and use both or neither.
void use_own_packet_keys(gnutls_session_t session);
void use_own_packet_keys(ngtcp2_callbacks& callbacks);

/// Packets that this thread has opened: authentic ones. ngtcp2 does not say whether a datagram was.
std::uint64_t opened_packets();

}  // namespace dh::quic
