#include "derp/meta_cert.hh"

#include <algorithm>
#include <chrono>
#include <string>

#include <sodium.h>

#include "base/check.hh"

namespace dh::derp {
namespace {

constexpr std::string_view kNamePrefix = "derpkey";

// Ed25519 in X.509: SEQUENCE { OID 1.3.101.112 }.
constexpr std::string_view kEd25519 = "300506032b6570";

// Built by hand because the common name, 71 characters, exceeds X.520's 64: certificate libraries refuse it.
void put_hex(Writer& w, std::string_view digits) {
  w.bytes(from_hex(digits).value());
}

// SEQUENCE { SET { SEQUENCE { OID commonName, PrintableString } } }
void put_name(Writer& w, const PublicKey& server) {
  put_hex(w, "30523150304e06035504031347");
  w.text(kNamePrefix);
  w.text(server.to_hex());
}

// UTCTime, YYMMDDHHMMSSZ.
void put_time(Writer& w, UnixSeconds when) {
  using namespace std::chrono;
  constexpr UnixSeconds kFirst = sys_days(year(1950) / 1 / 1);
  constexpr UnixSeconds kLast = sys_days(year(2050) / 1 / 1) - seconds(1);
  when = std::clamp(when, kFirst, kLast);
  const auto day = floor<days>(when);
  const year_month_day date(day);
  const hh_mm_ss time(when - day);
  put_hex(w, "170d");
  const auto two_digits = [&w](auto value) {
    const auto number = static_cast<unsigned>(value) % 100;
    w.u8(static_cast<std::uint8_t>('0' + number / 10));
    w.u8(static_cast<std::uint8_t>('0' + number % 10));
  };
  two_digits(static_cast<int>(date.year()));
  two_digits(static_cast<unsigned>(date.month()));
  two_digits(static_cast<unsigned>(date.day()));
  two_digits(time.hours().count());
  two_digits(time.minutes().count());
  two_digits(time.seconds().count());
  w.text("Z");
}

}  // namespace

Bytes make_meta_cert(const PublicKey& server, const Secret<32>& seed, const MetaCertDates& dates) {
  ByteArray<crypto_sign_PUBLICKEYBYTES> public_key;
  Secret<crypto_sign_SECRETKEYBYTES> secret_key;
  crypto_sign_seed_keypair(as_uchar(ByteSpan(public_key)), secret_key.uchar(), seed.uchar());

  Bytes signed_part;
  Writer s(signed_part);
  put_hex(s, "30820115");    // SEQUENCE of 277 bytes
  put_hex(s, "a003020102");  // version 3
  put_hex(s, "020102");      // serial: the DERP version
  put_hex(s, kEd25519);
  put_name(s, server);  // issuer
  put_hex(s, "301e");
  put_time(s, dates.not_before);
  put_time(s, dates.not_after);
  put_name(s, server);  // subject
  put_hex(s, "302a");
  put_hex(s, kEd25519);
  put_hex(s, "032100");
  s.bytes(public_key);
  put_hex(s, "a310300e300c0603551d130101ff04023000");  // critical BasicConstraints, no CA

  ByteArray<crypto_sign_BYTES> signature;
  crypto_sign_detached(as_uchar(ByteSpan(signature)), nullptr, as_uchar(ByteView(signed_part)),
                       signed_part.size(), secret_key.uchar());
  Bytes out;
  Writer w(out);
  put_hex(w, "30820163");  // SEQUENCE of 355 bytes
  w.bytes(signed_part);
  put_hex(w, kEd25519);
  put_hex(w, "034100");
  w.bytes(signature);
  CHECK(out.size() == kMetaCertSize);
  return out;
}

std::optional<PublicKey> parse_meta_cert_name(std::string_view common_name, std::uint64_t serial) {
  if (!common_name.starts_with(kNamePrefix) || serial == 0 || serial > 255) return std::nullopt;
  const auto bytes = array_from_hex<32>(common_name.substr(kNamePrefix.size()));
  if (!bytes || *bytes == ByteArray<32>{}) return std::nullopt;
  return PublicKey{*bytes};
}

}  // namespace dh::derp
