#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.hh"
#include "base/time.hh"
#include "crypto/keys.hh"

namespace dh::session {

enum class TokenKind : std::uint8_t {
  OneShot,       // dh1
  TunnelServer,  // dts1
  TunnelClient,  // dtc1
};

/// What the holder may do; a one-shot token has exactly one bit set.
enum class Capability : std::uint32_t {
  Pipe = 1u << 0,
  Transfer = 1u << 1,
  Share = 1u << 2,
  SshInvite = 1u << 3,
};
std::string_view to_string(
    Capability capability);  // the command that made it: "listen", "send", "share", "ssh invite"

/// A relay as a token carries it: all the other side needs to reach it, without a DERP map.
struct RelayRef {
  std::uint32_t region = 0;  // id in the DERP map; 0: not from a map
  std::string host;          // DNS name or IP literal; SNI and certificate name unless pinned
  std::uint16_t port = 443;
  bool plain_http = false;           // loopback only
  std::optional<ByteArray<32>> pin;  // SHA-256 of the one certificate (sha256-raw)
  std::vector<IpAddress> addresses;  // dial these, no DNS; empty: resolve `host`
  std::optional<std::uint16_t> stun_port;
  bool operator==(const RelayRef&) const = default;
};
/// `host:port`: what both ends call this relay in the handshake's prologue.
std::string relay_name(const RelayRef& relay);

/// Bounds of what a token may hold.
inline constexpr std::size_t kMaxTokenRelays = 4;     // two regions, two nodes each
inline constexpr std::size_t kMaxRelayAddresses = 8;  // a laptop's interfaces, both families
inline constexpr std::size_t kMaxHostLength = 253;    // bytes; the DNS's limit
inline constexpr std::size_t kMaxTokenBytes = 4096;   // decoded; four full relays fit

/// A one-shot token. Spec: docs/protocol/token.md.
struct Token {
  std::uint8_t version = 1;
  ByteArray<16> session_id{};
  UnixSeconds expires{};
  std::uint32_t capabilities = 0;
  std::vector<RelayRef> relays;  // 1..4, best first
  PublicKey listener_derp;       // where the relay routes
  PublicKey listener_noise;      // whom the handshake authenticates; never seen by a relay
  Secret<32> psk;

  bool allows(Capability capability) const {
    return (capabilities & static_cast<std::uint32_t>(capability)) != 0;
  }
  bool operator==(const Token&) const = default;
};

enum class TokenError : std::uint8_t {
  NotAToken,           // no known prefix
  WrongKind,           // a good prefix of another kind
  Truncated,           // stops before its declared end
  Mistyped,            // checksum does not match, or a foreign character
  UnsupportedVersion,  // made by a newer derphole
  Invalid,             // checksum right, content impossible
};
std::string_view to_string(TokenError error);

/// CHECKs the bounds above and what Invalid means below: a token is made by this program.
std::string format_token(const Token& token);
/// Whitespace around the text is ignored. Expiry is not checked here: the text is good, its time may not be.
std::expected<Token, TokenError> parse_token(std::string_view text);
/// By the prefix alone; empty when it is none of ours.
std::optional<TokenKind> token_kind(std::string_view text);

}  // namespace dh::session
