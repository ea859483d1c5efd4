#pragma once

// Where the ciphers behind Aead and HeaderMask come from. Only aead*.cc and header_mask.cc include this;
// everybody else calls make_aead() and its like.

#include "crypto/aead.hh"
#include "crypto/header_mask.hh"

namespace dh::detail {

/// OpenSSL's EVP: on every machine, every kind.
std::unique_ptr<Aead> make_openssl_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);
std::unique_ptr<Aead> make_openssl_aes128_gcm(const Secret<kAes128KeySize>& key);
std::unique_ptr<HeaderMask> make_openssl_aes128_mask(const Secret<kAes128KeySize>& key);

/// Built in, and this CPU has the instructions that make it worth its while. Says nothing about the
/// self-test.
bool ipsec_mb_suits();
/// Null unless ipsec_mb_suits().
std::unique_ptr<Aead> make_ipsec_mb_aead(AeadKind kind, const Secret<Aead::kKeySize>& key);
std::unique_ptr<Aead> make_ipsec_mb_aes128_gcm(const Secret<kAes128KeySize>& key);
std::unique_ptr<HeaderMask> make_ipsec_mb_aes128_mask(const Secret<kAes128KeySize>& key);

/// Seals, opens and refuses one long message with a known tag.
bool passes_self_test(AeadKind kind, Aead& known_key);
bool passes_aes128_self_test(Aead& known_key, HeaderMask& known_mask_key);
/// The keys of these tests.
Secret<Aead::kKeySize> self_test_key();
Secret<kAes128KeySize> self_test_aes128_key();

}  // namespace dh::detail
