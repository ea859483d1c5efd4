#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio.hpp>

#include "io/dial.hh"

namespace dh::io {

/// Where an HTTP proxy is and how to log in there.
struct ProxyUrl {
  bool tls = false;  // https://: TLS to the proxy itself
  std::string host;
  std::uint16_t port = 80;
  std::optional<std::string> credentials;  // user:password, percent-decoded; never printed

  std::string where() const;  // host:port, for people
  bool operator==(const ProxyUrl&) const = default;
};

/// http[s]://[user[:password]@]host[:port][/]; without a scheme http. Ports default to 80 and 443.
/// Errors: a sentence without the text itself, which may hold a password.
std::expected<ProxyUrl, std::string> parse_proxy_url(std::string_view text);

/// Whether `host`:`port` is to be reached directly. Loopback and localhost always are. Entries: `*`,
/// `example.com` (it and its subdomains), `.example.com` and `*.example.com` (subdomains only), an address, a
/// CIDR; each but `*` and the CIDR with an optional `:port`. Separated by commas or spaces, any case.
bool bypasses_proxy(std::string_view host, std::uint16_t port, std::string_view no_proxy);

/// Asks the proxy on `stream` for a tunnel. Afterwards the stream is the far end's.
asio::awaitable<std::expected<void, DialError>> open_tunnel(ByteStream& stream, const ProxyUrl& proxy,
                                                            std::string host, std::uint16_t port);

/// host:port with brackets around an IPv6 literal.
std::string host_and_port(std::string_view host, std::uint16_t port);

}  // namespace dh::io
