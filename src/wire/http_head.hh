#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hh"

namespace dh {

/// Why the bytes are not an HTTP/1.x head we accept (RFC 9112). Strict on purpose: a relay meets no legacy
/// agents, and leniency is what request smuggling lives on.
enum class HttpError : std::uint8_t {
  BadStartLine,    // not `METHOD SP target SP HTTP/1.x` or `HTTP/1.x SP NNN [SP reason]`
  BadVersion,      // HTTP, but not 1.0 or 1.1
  BadHeader,       // no colon, a foreign character in the name, folded, or a control character in the value
  TooManyHeaders,  // more than HttpLimits::headers
  TooLong,         // more than HttpLimits::head_bytes
};
std::string_view to_string(HttpError error);

struct HttpLimits {
  std::size_t head_bytes = 16u << 10;  // start line to blank line; browsers send under 4 KiB
  std::size_t headers = 64;            // browsers send about 20
};

struct HttpHeader {
  std::string name;   // as sent
  std::string value;  // without surrounding blanks
  bool operator==(const HttpHeader&) const = default;
};

class HttpHeaders {
public:
  /// The first value of `name`, compared without case.
  std::optional<std::string_view> find(std::string_view name) const;
  /// Whether a comma-separated element of any `name` header equals `token`, both compared without case.
  bool has_token(std::string_view name, std::string_view token) const;
  void add(HttpHeader header) { all_.push_back(std::move(header)); }
  const std::vector<HttpHeader>& all() const { return all_; }
  bool operator==(const HttpHeaders&) const = default;

private:
  std::vector<HttpHeader> all_;
};

struct HttpRequestHead {
  std::string method;
  std::string target;
  int minor_version = 1;  // HTTP/1.<minor>
  HttpHeaders headers;

  /// The target up to `?`.
  std::string_view path() const;
  /// Whether the sender wants the connection to go on after the answer.
  bool keep_alive() const;
  /// Whether a body follows the head (which we never read).
  bool has_body() const;
  bool operator==(const HttpRequestHead&) const = default;
};

struct HttpResponseHead {
  int minor_version = 1;
  int status = 0;  // 100..599
  std::string reason;
  HttpHeaders headers;
  bool operator==(const HttpResponseHead&) const = default;
};

/// Bytes of the head at the front of `stream` with its blank line; nullopt while that has not arrived.
/// `searched`: how much an earlier call on the same stream has seen, so that drip-fed heads cost linear time.
std::optional<std::size_t> http_head_size(ByteView stream, std::size_t searched = 0);

/// `head` is exactly what http_head_size() delimited.
std::expected<HttpRequestHead, HttpError> parse_http_request(ByteView head, const HttpLimits& limits = {});
std::expected<HttpResponseHead, HttpError> parse_http_response(ByteView head, const HttpLimits& limits = {});

/// Whether `text` equals `other` without regard to ASCII case.
bool equal_ignoring_case(std::string_view text, std::string_view other);

}  // namespace dh
