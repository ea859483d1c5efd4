#pragma once

#include <expected>
#include <optional>
#include <string>

#include <openssl/ssl.h>

#include "base/bytes.hh"
#include "base/time.hh"
#include "crypto/keys.hh"

namespace dh::io {

/// The relay's key from its meta certificate: the first certificate of the list whose common name is
/// `derpkey` + 64 hex and whose serial (the protocol version) is 1..255. Its dates and signature mean
/// nothing; it is as trustworthy as the handshake that carried it. Only under TLS 1.3, where the list is
/// encrypted.
std::optional<PublicKey> find_meta_key(const SSL* tls);

/// The rules of a `sha256-raw` pin: exactly one certificate that is no meta certificate; its digest is `pin`;
/// it is valid at `now`; it is made for `sni`, unless that is empty (IP literals send none).
/// Errors: a clause for a person, "its certificate expired".
std::expected<void, std::string> check_pin(const SSL* tls, const ByteArray<32>& pin, const std::string& sni,
                                           UnixSeconds now);

/// Why OpenSSL's own verification said no, as a clause; nullopt if the certificate was not the reason.
std::optional<std::string> verification_failure(const SSL* tls);

}  // namespace dh::io
