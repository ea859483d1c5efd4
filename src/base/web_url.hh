#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace dh {

/// An absolute http or https URL without user information. The fragment is dropped.
struct WebUrl {
  bool tls = true;
  std::string host;  // lower-case DNS name or IP literal, without brackets
  std::uint16_t port = 443;
  std::string target = "/";  // path and query as they go on the request line

  /// `http[s]://host[:port][/path][?query][#fragment]`, at most 2048 bytes.
  /// Errors:    one clause for a person ("has no host").
  static std::expected<WebUrl, std::string> parse(std::string_view text);
  /// Resolves a Location header against this URL (RFC 3986 §5.2, without dot segments).
  std::expected<WebUrl, std::string> resolve(std::string_view reference) const;

  /// `host` or `host:port`, IPv6 in brackets: what the Host header says.
  std::string authority() const;
  std::string to_string() const;
  /// True for loopback addresses and the name localhost: plain http is acceptable there.
  bool is_loopback() const;
  bool operator==(const WebUrl&) const = default;
};

/// A DNS name (letters, digits, `-`, `_`, `.`, at most 253 bytes, labels at most 63) or an IP literal.
bool is_host_name(std::string_view text);

}  // namespace dh
