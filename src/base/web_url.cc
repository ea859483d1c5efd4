#include "base/web_url.hh"

#include <algorithm>

#include "base/address.hh"

namespace dh {
namespace {

constexpr std::size_t kMaxUrl = 2048;  // what servers and proxies commonly accept
constexpr std::size_t kMaxHost = 253;  // RFC 1035 §2.3.4, as text
constexpr std::size_t kMaxLabel = 63;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// Bytes that may stand in a URL as they are; the rest would have to be escaped, or would break a header.
bool is_url_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '\\'; });
}

bool is_dns_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxHost) return false;
  std::size_t label = 0;
  for (char c : text) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!is_name_char(c) || ++label > kMaxLabel) {
      return false;
    }
  }
  return label > 0;
}

std::unexpected<std::string> wrong(std::string why) {
  return std::unexpected(std::move(why));
}

}  // namespace

bool is_host_name(std::string_view text) {
  return is_dns_name(text) || IpAddress::parse(text).has_value();
}

std::expected<WebUrl, std::string> WebUrl::parse(std::string_view text) {
  if (text.size() > kMaxUrl) return wrong("is longer than 2048 bytes");
  if (!is_url_text(text)) return wrong("has a space or another character that must not stand in a URL");
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return wrong("does not start with https:// or http://");
  const std::string scheme = lower(text.substr(0, colon));
  if (scheme != "https" && scheme != "http") return wrong("does not start with https:// or http://");
  WebUrl url;
  url.tls = scheme == "https";
  url.port = url.tls ? 443 : 80;

  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  const std::string_view target = rest.substr(authority.size());
  if (authority.find('@') != std::string_view::npos) return wrong("has a user name or password");

  std::string_view host = authority;
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return wrong("has a [ without ]");
    host = authority.substr(1, close - 1);
    const auto address = IpAddress::parse(host);
    if (!address || host.find(':') == std::string_view::npos) return wrong("has no IPv6 address in its []");
    const std::string_view after = authority.substr(close + 1);
    has_port = after.starts_with(':');
    if (!after.empty() && !has_port) return wrong("has something other than a port after its ]");
    if (has_port) port = after.substr(1);
    url.host = address->to_string();
  } else {
    const auto separator = authority.find(':');
    has_port = separator != std::string_view::npos;
    host = authority.substr(0, separator);
    if (has_port) port = authority.substr(separator + 1);
    if (host.empty()) return wrong("has no host");
    if (port.find(':') != std::string_view::npos) return wrong("has an IPv6 address without []");
    if (!is_dns_name(host)) return wrong("has a host that is neither a DNS name nor an address");
    url.host = lower(host);
  }
  if (has_port) {
    const auto number = parse_port(port);
    if (!number) return wrong("has a port that is not a number from 1 to 65535");
    url.port = *number;
  }
  url.target = target.starts_with('/') ? std::string(target) : "/" + std::string(target);
  return url;
}

std::expected<WebUrl, std::string> WebUrl::resolve(std::string_view reference) const {
  if (reference.size() > kMaxUrl || !is_url_text(reference)) return wrong("is not a URL");
  reference = reference.substr(0, reference.find('#'));
  const auto colon = reference.find(':');
  const bool has_scheme = colon != std::string_view::npos && colon < reference.find_first_of("/?");
  if (has_scheme) return parse(reference);
  const std::string_view scheme = tls ? "https:" : "http:";
  if (reference.starts_with("//")) return parse(std::string(scheme).append(reference));
  WebUrl url = *this;
  const std::string path = target.substr(0, target.find('?'));
  if (reference.starts_with('/')) {
    url.target = std::string(reference);
  } else if (reference.starts_with('?')) {
    url.target = path + std::string(reference);
  } else if (!reference.empty()) {
    url.target = path.substr(0, path.rfind('/') + 1) + std::string(reference);
  }
  if (url.target.size() > kMaxUrl) return wrong("is longer than 2048 bytes");
  return url;
}

std::string WebUrl::authority() const {
  std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (tls ? 443 : 80)) out += ":" + std::to_string(port);
  return out;
}

std::string WebUrl::to_string() const {
  return (tls ? "https://" : "http://") + authority() + target;
}

bool WebUrl::is_loopback() const {
  const auto address = IpAddress::parse(host);
  return address ? address->is_loopback() : host == "localhost";
}

}  // namespace dh
