#pragma once

// Certificates made on the spot for TLS tests.

#include <ctime>
#include <memory>
#include <string>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/hash.hh"

namespace dh::io::testing {

struct CertificateWish {
  std::string name = "relay.test";
  std::string subject_alt_name = "DNS:relay.test";
  long begins_in_seconds = -3600;
  long ends_in_seconds = 3600;
};

/// A self-signed P-256 certificate with its key.
class TestCertificate {
public:
  explicit TestCertificate(const CertificateWish& wish = {})
      : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free) {
    X509* c = certificate_.get();
    X509_set_version(c, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c), 7);
    X509_gmtime_adj(X509_getm_notBefore(c), wish.begins_in_seconds);
    X509_gmtime_adj(X509_getm_notAfter(c), wish.ends_in_seconds);
    X509_set_pubkey(c, key_.get());
    X509_NAME* name = X509_get_subject_name(c);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(wish.name.c_str()), -1, -1, 0);
    X509_set_issuer_name(c, name);
    X509_EXTENSION* san =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, wish.subject_alt_name.c_str());
    X509_add_ext(c, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(c, key_.get(), EVP_sha256());
  }

  X509* get() const { return certificate_.get(); }
  EVP_PKEY* key() const { return key_.get(); }

  ByteArray<32> pin() const {
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate_.get(), &der);
    const auto digest =
        sha256(ByteView(reinterpret_cast<const std::byte*>(der), static_cast<std::size_t>(size)));
    OPENSSL_free(der);
    return digest;
  }
  std::string pem() const {
    std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_X509(out.get(), certificate_.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }

private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> certificate_;
};

}  // namespace dh::io::testing
