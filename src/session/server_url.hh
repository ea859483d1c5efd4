#pragma once

// One relay as a person writes it: the value of --derp-server, and what `derphole relay` prints.

#include <expected>
#include <string>
#include <string_view>

#include "session/token.hh"

namespace dh::session {

/// `https://HOST[:PORT][?pin=sha256-raw:HEX][&stun=PORT]`; HOST is a DNS name, an IPv4 address or an IPv6
/// address in brackets; `http://` on loopback only. A path other than `/` or `/derp` is refused. stun=0:
/// none; without stun, the usual port is assumed for https and none for http. Errors:    a whole sentence
/// that quotes the value and says what would be right (a usage error).
std::expected<RelayRef, std::string> parse_server_url(std::string_view text);

/// The shortest text that parses to the same relay. `region` and `addresses` have no place in it.
std::string format_server_url(const RelayRef& relay);

}  // namespace dh::session
