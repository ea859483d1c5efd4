#include "base/address.hh"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

#include "base/check.hh"

namespace dh {
namespace {

constexpr std::byte B(unsigned value) {
  return static_cast<std::byte>(value);
}

unsigned at(const ByteArray<16>& bytes, std::size_t i) {
  return static_cast<unsigned>(bytes[i]);
}

}  // namespace

IpAddress IpAddress::v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  return v4(ByteArray<4>{B(a), B(b), B(c), B(d)});
}

IpAddress IpAddress::v4(const ByteArray<4>& bytes) {
  IpAddress out;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin() + 12);
  return out;
}

IpAddress IpAddress::v6(const ByteArray<16>& bytes) {
  IpAddress out;
  out.is_v4_ = std::equal(bytes.begin(), bytes.begin() + 12, out.bytes_.begin());
  out.bytes_ = bytes;
  return out;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() > 45) return std::nullopt;
  const std::string terminated(text);
  ByteArray<16> six;
  ByteArray<4> four;
  if (inet_pton(AF_INET, terminated.c_str(), four.data()) == 1) return v4(four);
  if (inet_pton(AF_INET6, terminated.c_str(), six.data()) == 1) return v6(six);
  return std::nullopt;
}

bool IpAddress::is_loopback() const {
  if (is_v4_) return at(bytes_, 12) == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::byte b) { return b == B(0); }) &&
         bytes_[15] == B(1);
}

bool IpAddress::is_unspecified() const {
  const std::size_t first = is_v4_ ? 12 : 0;
  return std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(first), bytes_.end(),
                     [](std::byte b) { return b == B(0); });
}

bool IpAddress::is_link_local() const {
  if (is_v4_) return at(bytes_, 12) == 169 && at(bytes_, 13) == 254;
  return at(bytes_, 0) == 0xfe && (at(bytes_, 1) & 0xc0) == 0x80;
}

bool IpAddress::is_multicast() const {
  return is_v4_ ? (at(bytes_, 12) & 0xf0) == 0xe0 : at(bytes_, 0) == 0xff;
}

bool IpAddress::is_private() const {
  if (!is_v4_) return (at(bytes_, 0) & 0xfe) == 0xfc;
  const unsigned a = at(bytes_, 12);
  const unsigned b = at(bytes_, 13);
  return a == 10 || (a == 172 && (b & 0xf0) == 16) || (a == 192 && b == 168) ||
         (a == 100 && (b & 0xc0) == 64);
}

IpAddress IpAddress::with_zone(std::uint32_t zone) const {
  IpAddress out = *this;
  if (is_v6() && is_link_local()) out.zone_ = zone;
  return out;
}

ByteArray<4> IpAddress::v4_bytes() const {
  CHECK(is_v4_);
  return {bytes_[12], bytes_[13], bytes_[14], bytes_[15]};
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_v4_) {
    inet_ntop(AF_INET, bytes_.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  }
  return zone_ == 0 ? text : std::string(text) + '%' + std::to_string(zone_);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  const auto port = parse_port(text.substr(colon + 1), true);
  if (!address || !port) return std::nullopt;
  if (!bracketed && host.find(':') != std::string_view::npos) return std::nullopt;
  return Endpoint{*address, *port};
}

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::optional<std::uint16_t> parse_port(std::string_view text, bool allow_zero) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > 65535) return std::nullopt;
  if (value == 0 && !allow_zero) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

}  // namespace dh
