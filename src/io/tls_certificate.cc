#include "io/tls_certificate.hh"

#include <ctime>
#include <stdexcept>

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/address.hh"
#include "base/printable.hh"
#include "crypto/hash.hh"
#include "io/openssl.hh"

namespace dh::io {
namespace {

void require(bool ok, const char* what) {
  if (!ok)
    throw std::runtime_error(
        fmt::format("cannot make a TLS certificate: {}: {}", what, take_openssl_error()));
}

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// `DNS:name` or `IP:address`, as OpenSSL's configuration language wants it. The name is checked, because a
// comma in it would be another entry.
std::string alternative_name(const std::string& host) {
  if (const auto address = IpAddress::parse(host)) return "IP:" + address->to_string();
  const bool plausible =
      !host.empty() && host.size() <= 253 &&
      host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
          std::string::npos;
  if (!plausible)
    throw std::runtime_error(
        fmt::format("cannot make a TLS certificate for '{}': not a host name", printable(host)));
  return "DNS:" + host;
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extension");
}

X509Ptr first_certificate(const std::string& pem) {
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate)
    throw std::runtime_error(fmt::format("no certificate in the PEM text: {}", take_openssl_error()));
  return certificate;
}

}  // namespace

TlsIdentity make_self_signed(const SelfSignedOptions& options, UnixSeconds now) {
  if (options.hosts.empty()) throw std::runtime_error("cannot make a TLS certificate without a host name");
  std::string names;
  for (const std::string& host : options.hosts) names += (names.empty() ? "" : ",") + alternative_name(host);

  PkeyPtr key(EVP_EC_gen("P-256"));
  require(key != nullptr, "key");
  X509Ptr certificate(X509_new());
  require(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1, "version");
  std::uint64_t serial = 0;
  require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "random serial");
  require(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1) == 1, "serial");

  const auto begins = static_cast<std::time_t>((now - 24h).time_since_epoch().count());
  const auto lifetime = std::chrono::duration_cast<std::chrono::seconds>(options.lifetime);
  const auto ends = static_cast<std::time_t>((now + lifetime).time_since_epoch().count());
  require(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), begins) != nullptr, "start of validity");
  require(ASN1_TIME_set(X509_getm_notAfter(certificate.get()), ends) != nullptr, "end of validity");

  // A CN holds at most 64 characters (X.520); the SAN is what clients look at.
  const std::string common_name = options.hosts.front().substr(0, 64);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     reinterpret_cast<const unsigned char*>(common_name.data()),
                                     static_cast<int>(common_name.size()), -1, 0) == 1,
          "name");
  require(X509_set_issuer_name(certificate.get(), name) == 1, "issuer");
  require(X509_set_pubkey(certificate.get(), key.get()) == 1, "public key");
  add_extension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), NID_key_usage, "critical,digitalSignature");
  add_extension(certificate.get(), NID_ext_key_usage, "serverAuth");
  add_extension(certificate.get(), NID_subject_alt_name, names);
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "signature");

  BioPtr certificate_text(BIO_new(BIO_s_mem()));
  BioPtr key_text(BIO_new(BIO_s_secmem()));
  require(PEM_write_bio_X509(certificate_text.get(), certificate.get()) == 1, "PEM");
  require(PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "PEM");
  return {.certificate_chain_pem = bio_text(certificate_text.get()),
          .private_key_pem = bio_text(key_text.get())};
}

ByteArray<32> certificate_pin(const std::string& certificate_chain_pem) {
  const X509Ptr certificate = first_certificate(certificate_chain_pem);
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  if (size <= 0) throw std::runtime_error("the certificate has no DER form: " + take_openssl_error());
  const ByteArray<32> digest =
      sha256({reinterpret_cast<const std::byte*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

UnixSeconds certificate_expiry(const std::string& certificate_chain_pem) {
  const X509Ptr certificate = first_certificate(certificate_chain_pem);
  std::tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &parts) != 1)
    throw std::runtime_error("the certificate's end of validity is unreadable");
  return UnixSeconds(std::chrono::seconds(timegm(&parts)));
}

}  // namespace dh::io
