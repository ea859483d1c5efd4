#pragma once

// Where the ciphers behind Aead come from. Only aead*.cc includes this; everybody else calls make_aead().

#include "crypto/aead.hh"

namespace dh::detail {

/// OpenSSL's EVP: on every machine, every kind.
std::unique_ptr<Aead> make_openssl_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);

/// Built in, and this CPU has the instructions that make it worth its while. Says nothing about the
/// self-test.
bool ipsec_mb_suits();
/// Null unless ipsec_mb_suits().
std::unique_ptr<Aead> make_ipsec_mb_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);

/// Seals, opens and refuses one long message with a known tag.
bool passes_self_test(AeadKind kind, Aead& known_key);
/// The key of that test.
Secret<Aead::kKeySize> self_test_key();

}  // namespace dh::detail
