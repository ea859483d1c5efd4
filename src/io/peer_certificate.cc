#include "io/peer_certificate.hh"

#include <ctime>

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/printable.hh"
#include "crypto/hash.hh"

namespace dh::io {
namespace {

constexpr std::string_view kMetaPrefix = "derpkey";
constexpr std::size_t kMaxCertificate = 64 << 10;  // bytes of DER we are willing to digest

std::string_view common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::optional<PublicKey> meta_key(X509* certificate) {
  const std::string_view name = common_name(certificate);
  if (!name.starts_with(kMetaPrefix)) return std::nullopt;
  const auto bytes = array_from_hex<32>(name.substr(kMetaPrefix.size()));
  if (!bytes) return std::nullopt;
  const std::int64_t version = ASN1_INTEGER_get(X509_get_serialNumber(certificate));
  if (version < 1 || version > 255) return std::nullopt;
  const PublicKey key{*bytes};
  if (key.is_zero()) return std::nullopt;
  return key;
}

Bytes der_of(X509* certificate) {
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0 || static_cast<std::size_t>(size) > kMaxCertificate) return {};
  Bytes der(static_cast<std::size_t>(size));
  auto* out = reinterpret_cast<unsigned char*>(der.data());
  i2d_X509(certificate, &out);
  return der;
}

}  // namespace

std::optional<PublicKey> find_meta_key(const SSL* tls) {
  if (SSL_version(tls) < TLS1_3_VERSION) return std::nullopt;
  const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(tls);
  for (int i = 0; i < sk_X509_num(chain); ++i)
    if (auto key = meta_key(sk_X509_value(chain, i))) return key;
  return std::nullopt;
}

std::expected<void, std::string> check_pin(const SSL* tls, const ByteArray<32>& pin, const std::string& sni,
                                           UnixSeconds now) {
  const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(tls);
  X509* only = nullptr;
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    if (common_name(certificate).starts_with(kMetaPrefix)) continue;
    if (only != nullptr)
      return std::unexpected("it sent more than one certificate, which a pinned relay must not do");
    only = certificate;
  }
  if (only == nullptr) return std::unexpected("it sent no certificate of its own");
  const Bytes der = der_of(only);
  if (der.empty() || sha256(der) != pin)
    return std::unexpected(
        "its certificate is not the pinned one: the relay has a new certificate, or "
        "something in between answers in its place");
  std::time_t at = std::chrono::system_clock::to_time_t(now);
  if (X509_cmp_time(X509_get0_notBefore(only), &at) > 0)
    return std::unexpected("its certificate is not valid yet: check this machine's clock");
  if (X509_cmp_time(X509_get0_notAfter(only), &at) < 0)
    return std::unexpected(
        "its certificate has expired: renew it on the relay, or check this machine's clock");
  if (!sni.empty() && X509_check_host(only, sni.data(), sni.size(), 0, nullptr) != 1)
    return std::unexpected("its certificate is for another name");
  return {};
}

std::optional<std::string> verification_failure(const SSL* tls) {
  const long result = SSL_get_verify_result(tls);
  switch (result) {
    case X509_V_OK:
      return std::nullopt;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "its certificate has expired: renew it on the relay, or check this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "its certificate is not valid yet: check this machine's clock";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "its certificate is for another name";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "its certificate is not signed by an authority this machine trusts; a relay of your own needs "
             "its "
             "pin (sha256-raw), and a network that opens TLS needs its authority installed here";
    default:
      return std::string("its certificate does not verify: ") + X509_verify_cert_error_string(result);
  }
}

}  // namespace dh::io
