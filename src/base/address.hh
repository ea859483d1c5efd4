#pragma once

#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hh"

namespace dh {

/// An IPv4 or IPv6 address as a value. IPv4-mapped IPv6 is always unmapped on the way in.
class IpAddress {
public:
  IpAddress() = default;  // 0.0.0.0

  static IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d);
  static IpAddress v4(const ByteArray<4>& bytes);
  static IpAddress v6(const ByteArray<16>& bytes);
  /// Dotted quad or RFC 4291 text, without port, zone or brackets.
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const { return is_v4_; }
  bool is_v6() const { return !is_v4_; }
  bool is_loopback() const;
  bool is_unspecified() const;
  bool is_link_local() const;
  bool is_multicast() const;
  /// RFC 1918, RFC 6598 shared space, and IPv6 unique local.
  bool is_private() const;

  /// Which interface a link-local IPv6 address is on, by this machine's number for it; 0: not said. Only this
  /// machine knows what it means: it is on no wire, and text is read without it.
  std::uint32_t zone() const { return zone_; }
  /// The same address there. Addresses that are not link-local IPv6 have no zone and stay as they are.
  IpAddress with_zone(std::uint32_t zone) const;

  /// 16 bytes; IPv4 as ::ffff:a.b.c.d.
  const ByteArray<16>& mapped() const { return bytes_; }
  /// The 4 bytes of an IPv4 address. Only when is_v4().
  ByteArray<4> v4_bytes() const;
  /// With the zone's number where there is one: `fe80::1%2`, as other programs take it.
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;
  // Asked for every packet, and not by one byte after the other.
  bool operator==(const IpAddress& other) const {
    return std::memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0 && is_v4_ == other.is_v4_ &&
           zone_ == other.zone_;
  }

private:
  ByteArray<16> bytes_ = {std::byte{0}, std::byte{0}, std::byte{0},   std::byte{0},
                          std::byte{0}, std::byte{0}, std::byte{0},   std::byte{0},
                          std::byte{0}, std::byte{0}, std::byte{255}, std::byte{255}};
  bool is_v4_ = true;
  std::uint32_t zone_ = 0;
};

/// Address and port of a socket.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  /// `1.2.3.4:5` or `[::1]:5`.
  static std::optional<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  auto operator<=>(const Endpoint&) const = default;
};

/// A decimal port 1..65535 (0 only where `allow_zero`); nothing else in the text.
std::optional<std::uint16_t> parse_port(std::string_view text, bool allow_zero = false);

}  // namespace dh
