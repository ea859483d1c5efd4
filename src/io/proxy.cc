#include "io/proxy.hh"

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace dh::io {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto byte = from_hex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return std::nullopt;
    out += static_cast<char>(byte->front());
    i += 2;
  }
  return out;
}

struct HostPort {
  std::string host;
  std::optional<std::uint16_t> port;
};

// host, host:port, [v6], [v6]:port, or a bare v6 address.
std::optional<HostPort> split_host_port(std::string_view text) {
  if (IpAddress::parse(text)) return HostPort{std::string(text), std::nullopt};
  HostPort out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    out.host = text.substr(1, end - 1);
    if (!IpAddress::parse(out.host)) return std::nullopt;
    rest = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    out.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (rest.empty()) return out;
  if (!rest.starts_with(':')) return std::nullopt;
  out.port = parse_port(rest.substr(1));
  if (!out.port) return std::nullopt;
  return out;
}

bool in_network(const IpAddress& address, std::string_view cidr) {
  const std::size_t slash = cidr.find('/');
  if (slash == std::string_view::npos) return false;
  const auto network = IpAddress::parse(cidr.substr(0, slash));
  if (!network || network->is_v4() != address.is_v4()) return false;
  const std::string_view digits = cidr.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (ec != std::errc() || end != digits.data() + digits.size()) return false;
  if (bits > (address.is_v4() ? 32u : 128u)) return false;
  if (address.is_v4()) bits += 96;  // mapped() has 96 bits of prefix in front
  for (unsigned bit = 0; bit < bits; ++bit) {
    const auto mask = static_cast<std::byte>(0x80u >> (bit % 8));
    if ((address.mapped()[bit / 8] & mask) != (network->mapped()[bit / 8] & mask)) return false;
  }
  return true;
}

bool entry_matches(std::string_view entry, const std::string& host, const std::optional<IpAddress>& address,
                   std::uint16_t port) {
  if (entry == "*") return true;
  if (address && in_network(*address, entry)) return true;
  const auto split = split_host_port(entry);
  if (!split || split->host.empty()) return false;
  if (split->port && *split->port != port) return false;
  if (const auto ip = IpAddress::parse(split->host)) return address && *ip == *address;
  if (address) return false;
  std::string_view name = split->host;
  while (name.ends_with('.')) name.remove_suffix(1);
  if (name.starts_with("*.")) name.remove_prefix(1);
  if (name.starts_with('.')) return host.ends_with(name);
  return host == name || (host.ends_with(name) && host[host.size() - name.size() - 1] == '.');
}

std::string first_set(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  return {};
}

}  // namespace

ProxyConfig ProxyConfig::from_environment() {
  return {first_set({"HTTPS_PROXY", "https_proxy"}), first_set({"NO_PROXY", "no_proxy"})};
}

std::string host_and_port(std::string_view host, std::uint16_t port) {
  std::string out;
  if (host.find(':') != std::string_view::npos)
    out.append("[").append(host).append("]");
  else
    out = host;
  return out + ":" + std::to_string(port);
}

std::string ProxyUrl::where() const {
  return host_and_port(host, port);
}

std::expected<ProxyUrl, std::string> parse_proxy_url(std::string_view text) {
  ProxyUrl url;
  if (const std::size_t at = text.find("://"); at != std::string_view::npos) {
    const std::string scheme = lower_case(text.substr(0, at));
    if (scheme != "http" && scheme != "https")
      return std::unexpected(
          "the proxy in HTTPS_PROXY has a scheme other than http:// or https://, which is "
          "not supported");
    url.tls = scheme == "https";
    text.remove_prefix(at + 3);
  }
  text = text.substr(0, text.find('/'));
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    url.credentials = percent_decode(text.substr(0, at));
    if (!url.credentials || url.credentials->find_first_of("\r\n") != std::string::npos)
      return std::unexpected("the user name or password in HTTPS_PROXY is not percent-encoded correctly");
    if (url.credentials->find(':') == std::string::npos) *url.credentials += ':';
    text.remove_prefix(at + 1);
  }
  const auto split = split_host_port(text);
  const auto bad = [](char c) { return c <= ' ' || c == '\x7f'; };
  if (!split || split->host.empty() || std::ranges::any_of(split->host, bad))
    return std::unexpected("HTTPS_PROXY is not of the form http://[user:password@]host[:port]");
  url.host = split->host;
  url.port = split->port.value_or(url.tls ? 443 : 80);
  return url;
}

bool bypasses_proxy(std::string_view host, std::uint16_t port, std::string_view no_proxy) {
  std::string name = lower_case(host);
  while (name.ends_with('.')) name.pop_back();
  const auto address = IpAddress::parse(name);
  if (name == "localhost" || (address && address->is_loopback())) return true;
  const std::string list = lower_case(no_proxy);
  constexpr std::string_view kSeparators = ", \t\r\n";
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t begin = list.find_first_not_of(kSeparators, at);
    if (begin == std::string::npos) break;
    const std::size_t end = std::min(list.find_first_of(kSeparators, begin), list.size());
    if (entry_matches(std::string_view(list).substr(begin, end - begin), name, address, port)) return true;
    at = end;
  }
  return false;
}

}  // namespace dh::io
