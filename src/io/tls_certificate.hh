#pragma once

#include <string>
#include <vector>

#include "base/bytes.hh"
#include "base/time.hh"

namespace dh::io {

/// What a TLS server shows: its certificate chain, leaf first, and the leaf's private key, both PEM.
struct TlsIdentity {
  std::string certificate_chain_pem;
  std::string private_key_pem;  // secret: never print
};

struct SelfSignedOptions {
  std::vector<std::string> hosts;      // DNS names and IP literals for the SAN; the first is the CN too
  Duration lifetime = 10 * 365 * 24h;  // clients hold its digest, so replacing it breaks what they saved
};

/// A self-signed server certificate with an ECDSA P-256 key, valid from a day before `now` (clocks differ).
/// Errors: throws std::runtime_error for an empty or impossible host name.
TlsIdentity make_self_signed(const SelfSignedOptions& options, UnixSeconds now);

/// SHA-256 over the DER of the first certificate: what `?pin=sha256-raw:` holds.
/// Errors: throws std::runtime_error when the PEM holds no certificate.
ByteArray<32> certificate_pin(const std::string& certificate_chain_pem);

/// End of validity of the first certificate. Errors: as certificate_pin.
UnixSeconds certificate_expiry(const std::string& certificate_chain_pem);

}  // namespace dh::io
