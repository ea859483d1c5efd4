#include "wire/http_head.hh"

#include <algorithm>

namespace dh {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// RFC 9110 §5.6.2 tchar.
bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

// RFC 9110 §5.5: visible ASCII, blanks, and obs-text; no other control character.
bool is_field_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto value = static_cast<unsigned char>(c);
    return c == '\t' || (value >= 0x20 && value != 0x7f);
  });
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The next line without its CRLF; `rest` moves behind it. Heads always end with CRLF.
std::string_view take_line(std::string_view& rest) {
  const auto end = rest.find("\r\n");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
  return line;
}

std::expected<int, HttpError> parse_version(std::string_view text) {
  if (!text.starts_with("HTTP/")) return std::unexpected(HttpError::BadStartLine);
  if (text == "HTTP/1.1") return 1;
  if (text == "HTTP/1.0") return 0;
  return std::unexpected(HttpError::BadVersion);
}

std::expected<HttpHeaders, HttpError> parse_headers(std::string_view rest, const HttpLimits& limits) {
  HttpHeaders headers;
  while (true) {
    const std::string_view line = take_line(rest);
    if (line.empty()) break;
    if (headers.all().size() == limits.headers) return std::unexpected(HttpError::TooManyHeaders);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return std::unexpected(HttpError::BadHeader);
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    if (!is_token(name) || !is_field_text(value)) return std::unexpected(HttpError::BadHeader);
    headers.add({std::string(name), std::string(value)});
  }
  if (!rest.empty()) return std::unexpected(HttpError::BadHeader);
  return headers;
}

}  // namespace

std::string_view to_string(HttpError error) {
  switch (error) {
    case HttpError::BadStartLine:
      return "bad start line";
    case HttpError::BadVersion:
      return "unsupported HTTP version";
    case HttpError::BadHeader:
      return "bad header";
    case HttpError::TooManyHeaders:
      return "too many headers";
    case HttpError::TooLong:
      return "head too long";
  }
  return "unknown";
}

bool equal_ignoring_case(std::string_view text, std::string_view other) {
  return std::ranges::equal(text, other, {}, lower, lower);
}

std::optional<std::string_view> HttpHeaders::find(std::string_view name) const {
  for (const HttpHeader& header : all_)
    if (equal_ignoring_case(header.name, name)) return header.value;
  return std::nullopt;
}

bool HttpHeaders::has_token(std::string_view name, std::string_view token) const {
  for (const HttpHeader& header : all_) {
    if (!equal_ignoring_case(header.name, name)) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      if (equal_ignoring_case(trim(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
  }
  return false;
}

std::string_view HttpRequestHead::path() const {
  return std::string_view(target).substr(0, target.find('?'));
}

bool HttpRequestHead::keep_alive() const {
  if (headers.has_token("Connection", "close")) return false;
  return minor_version == 1 || headers.has_token("Connection", "keep-alive");
}

bool HttpRequestHead::has_body() const {
  if (headers.find("Transfer-Encoding")) return true;
  const auto length = headers.find("Content-Length");
  return length && *length != "0";
}

std::optional<std::size_t> http_head_size(ByteView stream, std::size_t searched) {
  const std::size_t from = std::min(searched, stream.size());
  const auto at = as_text(stream).find("\r\n\r\n", from < 3 ? 0 : from - 3);
  if (at == std::string_view::npos) return std::nullopt;
  return at + 4;
}

std::expected<HttpRequestHead, HttpError> parse_http_request(ByteView head, const HttpLimits& limits) {
  if (head.size() > limits.head_bytes) return std::unexpected(HttpError::TooLong);
  std::string_view rest = as_text(head);
  const std::string_view line = take_line(rest);
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) return std::unexpected(HttpError::BadStartLine);
  HttpRequestHead request;
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  const bool visible = std::ranges::all_of(request.target, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!is_token(request.method) || request.target.empty() || !visible)
    return std::unexpected(HttpError::BadStartLine);
  const auto version = parse_version(line.substr(last + 1));
  if (!version) return std::unexpected(version.error());
  request.minor_version = *version;
  auto headers = parse_headers(rest, limits);
  if (!headers) return std::unexpected(headers.error());
  request.headers = std::move(*headers);
  return request;
}

std::expected<HttpResponseHead, HttpError> parse_http_response(ByteView head, const HttpLimits& limits) {
  if (head.size() > limits.head_bytes) return std::unexpected(HttpError::TooLong);
  std::string_view rest = as_text(head);
  const std::string_view line = take_line(rest);
  const auto version = parse_version(line.substr(0, line.find(' ')));
  if (!version) return std::unexpected(version.error());
  constexpr std::size_t kCodeAt = 9;  // behind "HTTP/1.x "
  const std::string_view code = line.size() > kCodeAt ? line.substr(kCodeAt, 3) : std::string_view();
  if (code.size() != 3 || !std::ranges::all_of(code, is_digit))
    return std::unexpected(HttpError::BadStartLine);
  const std::string_view behind = line.substr(kCodeAt + 3);
  if (!behind.empty() && behind.front() != ' ') return std::unexpected(HttpError::BadStartLine);
  HttpResponseHead response;
  response.minor_version = *version;
  for (char digit : code) response.status = response.status * 10 + (digit - '0');
  if (response.status < 100 || response.status > 599) return std::unexpected(HttpError::BadStartLine);
  response.reason = trim(behind);
  if (!is_field_text(response.reason)) return std::unexpected(HttpError::BadStartLine);
  auto headers = parse_headers(rest, limits);
  if (!headers) return std::unexpected(headers.error());
  response.headers = std::move(*headers);
  return response;
}

}  // namespace dh
