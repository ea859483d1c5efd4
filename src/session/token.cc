#include "session/token.hh"

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.hh"

namespace dh::session {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeaderSize = 3;             // version, total length
constexpr std::size_t kChecksumSize = 4;           // CRC-32
constexpr std::uint64_t kMaxExpires = 1ull << 40;  // seconds; the year 36812, far inside every clock type

// Field types. The high bit marks what a reader must understand to use the token safely.
constexpr std::uint8_t kCritical = 0x80;
constexpr std::uint8_t kSessionId = 0x81;
constexpr std::uint8_t kExpires = 0x82;
constexpr std::uint8_t kCapabilities = 0x83;
constexpr std::uint8_t kListenerDerp = 0x84;
constexpr std::uint8_t kListenerNoise = 0x85;
constexpr std::uint8_t kPsk = 0x86;
constexpr std::uint8_t kRelay = 0x87;

// Relay flags.
constexpr std::uint8_t kPlainHttp = 0x01;
constexpr std::uint8_t kHasPin = 0x02;
constexpr std::uint8_t kHasStun = 0x04;
constexpr std::uint8_t kHasPort = 0x08;
constexpr std::uint8_t kWideRegion = 0x10;
constexpr std::uint8_t kKnownFlags = 0x1f;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A DNS name of letters, digits, hyphens and dots, or an IP literal: fit for SNI, Host header and terminal.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > kMaxHostLength) return false;
  if (IpAddress::parse(host)) return true;
  std::string_view rest = host;
  for (;;) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return is_alphanumeric(c) || c == '-'; }))
      return false;
    if (label.size() == rest.size()) return true;
    rest.remove_prefix(label.size() + 1);
  }
}

bool is_valid(const RelayRef& relay) {
  if (!is_host(relay.host) || relay.port == 0 || relay.stun_port == std::uint16_t{0}) return false;
  if (relay.addresses.size() > kMaxRelayAddresses) return false;
  return std::none_of(relay.addresses.begin(), relay.addresses.end(),
                      [](const IpAddress& a) { return a.is_unspecified() || a.is_multicast(); });
}

bool is_valid(const Token& token) {
  const auto seconds = token.expires.time_since_epoch().count();
  if (seconds < 0 || static_cast<std::uint64_t>(seconds) > kMaxExpires) return false;
  if (std::popcount(token.capabilities) != 1) return false;
  if (token.relays.empty() || token.relays.size() > kMaxTokenRelays) return false;
  if (token.listener_derp.is_zero() || token.listener_noise.is_zero()) return false;
  return std::all_of(token.relays.begin(), token.relays.end(),
                     [](const RelayRef& relay) { return is_valid(relay); });
}

// Big-endian without leading zero bytes; zero is one byte.
Bytes number(std::uint64_t value) {
  Bytes out;
  Writer(out).u64(value);
  const auto first = std::find_if(out.begin(), out.end() - 1, [](std::byte b) { return b != std::byte{0}; });
  out.erase(out.begin(), first);
  return out;
}

std::optional<std::uint64_t> read_number(ByteView bytes) {
  if (bytes.empty() || bytes.size() > 8 || (bytes.size() > 1 && bytes[0] == std::byte{0}))
    return std::nullopt;
  std::uint64_t value = 0;
  for (std::byte b : bytes) value = value << 8 | static_cast<std::uint64_t>(b);
  return value;
}

void write_field(Writer& writer, std::uint8_t type, ByteView value) {
  writer.u8(type);
  if (value.size() < 0x80) {
    writer.u8(static_cast<std::uint8_t>(value.size()));
  } else {
    writer.u16(static_cast<std::uint16_t>(0x8000 | value.size()));
  }
  writer.bytes(value);
}

// The length as write_field makes it; a long form for a short length is refused by marking the reader bad.
std::size_t read_length(Reader& reader) {
  const std::size_t first = reader.u8();
  if (first < 0x80) return first;
  const std::size_t length = (first & 0x7f) << 8 | reader.u8();
  if (length < 0x80) reader.skip(SIZE_MAX);
  return length;
}

Bytes serialize_relay(const RelayRef& relay) {
  Bytes out;
  Writer writer(out);
  const bool wide = relay.region > 0xffff;
  std::uint8_t flags = 0;
  if (relay.plain_http) flags |= kPlainHttp;
  if (relay.pin) flags |= kHasPin;
  if (relay.stun_port) flags |= kHasStun;
  if (relay.port != 443) flags |= kHasPort;
  if (wide) flags |= kWideRegion;
  writer.u8(flags);
  if (wide) {
    writer.u32(relay.region);
  } else {
    writer.u16(static_cast<std::uint16_t>(relay.region));
  }
  writer.u8(static_cast<std::uint8_t>(relay.host.size()));
  writer.text(relay.host);
  if (flags & kHasPort) writer.u16(relay.port);
  if (relay.pin) writer.bytes(*relay.pin);
  if (relay.stun_port) writer.u16(*relay.stun_port);
  writer.u8(static_cast<std::uint8_t>(relay.addresses.size()));
  for (const IpAddress& address : relay.addresses) {
    writer.u8(address.is_v4() ? 4 : 6);
    if (address.is_v4()) {
      writer.bytes(address.v4_bytes());
    } else {
      writer.bytes(address.mapped());
    }
  }
  return out;
}

std::expected<RelayRef, TokenError> parse_relay(ByteView bytes) {
  Reader reader(bytes);
  RelayRef relay;
  const std::uint8_t flags = reader.u8();
  if ((flags & ~kKnownFlags) != 0) return std::unexpected(TokenError::UnsupportedVersion);
  relay.plain_http = (flags & kPlainHttp) != 0;
  relay.region = flags & kWideRegion ? reader.u32() : reader.u16();
  if ((flags & kWideRegion) && relay.region <= 0xffff) return std::unexpected(TokenError::Invalid);
  const std::size_t host_size = reader.u8();
  relay.host = as_text(reader.bytes(host_size));
  if (flags & kHasPort) {
    relay.port = reader.u16();
    if (relay.port == 443) return std::unexpected(TokenError::Invalid);
  }
  if (flags & kHasPin) relay.pin = reader.array<32>();
  if (flags & kHasStun) relay.stun_port = reader.u16();
  const std::size_t count = reader.u8();
  if (count > kMaxRelayAddresses) return std::unexpected(TokenError::Invalid);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t family = reader.u8();
    if (family == 4) {
      relay.addresses.push_back(IpAddress::v4(reader.array<4>()));
    } else if (family == 6) {
      relay.addresses.push_back(IpAddress::v6(reader.array<16>()));
      if (relay.addresses.back().is_v4()) return std::unexpected(TokenError::Invalid);  // mapped: two ways
    } else {
      return std::unexpected(TokenError::Invalid);
    }
  }
  if (!reader.ok() || reader.remaining() != 0 || !is_valid(relay))
    return std::unexpected(TokenError::Invalid);
  return relay;
}

template <std::size_t N>
std::optional<ByteArray<N>> fixed(ByteView value) {
  if (value.size() != N) return std::nullopt;
  ByteArray<N> out;
  std::copy(value.begin(), value.end(), out.begin());
  return out;
}

// One field into `token`. Errors: as parse_token.
std::optional<TokenError> read_field(std::uint8_t type, ByteView value, Token& token) {
  switch (type) {
    case kSessionId:
      if (const auto id = fixed<16>(value)) return token.session_id = *id, std::nullopt;
      return TokenError::Invalid;
    case kExpires:
      if (const auto seconds = read_number(value); seconds && *seconds <= kMaxExpires) {
        token.expires = UnixSeconds(std::chrono::seconds(*seconds));
        return std::nullopt;
      }
      return TokenError::Invalid;
    case kCapabilities:
      if (const auto bits = read_number(value); bits && *bits <= UINT32_MAX) {
        token.capabilities = static_cast<std::uint32_t>(*bits);
        return std::nullopt;
      }
      return TokenError::Invalid;
    case kListenerDerp:
      if (const auto key = fixed<32>(value)) return token.listener_derp.bytes = *key, std::nullopt;
      return TokenError::Invalid;
    case kListenerNoise:
      if (const auto key = fixed<32>(value)) return token.listener_noise.bytes = *key, std::nullopt;
      return TokenError::Invalid;
    case kPsk:
      if (const auto key = fixed<32>(value)) return token.psk = Secret<32>(*key), std::nullopt;
      return TokenError::Invalid;
    case kRelay: {
      auto relay = parse_relay(value);
      if (!relay) return relay.error();
      token.relays.push_back(std::move(*relay));
      return std::nullopt;
    }
    default:
      if (type & kCritical) return TokenError::UnsupportedVersion;
      return std::nullopt;
  }
}

std::expected<Token, TokenError> read_fields(ByteView fields) {
  Token token;
  Reader reader(fields);
  std::array<bool, 256> seen{};
  std::optional<TokenError> first_error;
  while (reader.remaining() > 0) {
    const std::uint8_t type = reader.u8();
    const std::size_t length = read_length(reader);
    const ByteView value = reader.bytes(length);
    if (!reader.ok()) return std::unexpected(TokenError::Invalid);
    if (seen[type] && (type & kCritical) && type != kRelay) return std::unexpected(TokenError::Invalid);
    if (type == kRelay && token.relays.size() == kMaxTokenRelays) return std::unexpected(TokenError::Invalid);
    seen[type] = true;
    const auto error = read_field(type, value, token);
    if (error && (!first_error || error == TokenError::UnsupportedVersion)) first_error = error;
  }
  if (first_error) return std::unexpected(*first_error);
  for (const std::uint8_t type :
       {kSessionId, kExpires, kCapabilities, kListenerDerp, kListenerNoise, kPsk, kRelay}) {
    if (!seen[type]) return std::unexpected(TokenError::Invalid);
  }
  if (!is_valid(token)) return std::unexpected(TokenError::Invalid);
  return token;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string_view prefix_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::OneShot:
      return "dh1";
    case TokenKind::TunnelServer:
      return "dts1";
    case TokenKind::TunnelClient:
      return "dtc1";
  }
  return "";
}

bool is_base64url(char c) {
  return is_alphanumeric(c) || c == '-' || c == '_';
}

// The bytes of a whole, unaltered envelope. Length first: a cut token is told apart from an altered one.
std::expected<Bytes, TokenError> open_envelope(std::string_view body) {
  if (!std::all_of(body.begin(), body.end(), is_base64url)) return std::unexpected(TokenError::Mistyped);
  if (body.size() < 4) return std::unexpected(TokenError::Truncated);
  const auto header = from_base64url(body.substr(0, 4));
  if (!header) return std::unexpected(TokenError::Mistyped);
  Reader reader(*header);
  reader.skip(1);
  const std::size_t total = reader.u16();
  if (total < kHeaderSize + kChecksumSize || total > kMaxTokenBytes)
    return std::unexpected(TokenError::Mistyped);
  const std::size_t characters = (total * 4 + 2) / 3;
  if (body.size() < characters) return std::unexpected(TokenError::Truncated);
  if (body.size() > characters) return std::unexpected(TokenError::Mistyped);
  auto bytes = from_base64url(body);
  if (!bytes) return std::unexpected(TokenError::Mistyped);
  const ByteView covered = ByteView(*bytes).first(total - kChecksumSize);
  if (load_be32(bytes->data() + covered.size()) != crc32(covered))
    return std::unexpected(TokenError::Mistyped);
  return std::move(*bytes);
}

}  // namespace

std::string_view to_string(Capability capability) {
  switch (capability) {
    case Capability::Pipe:
      return "listen";
    case Capability::Transfer:
      return "send";
    case Capability::Share:
      return "share";
    case Capability::SshInvite:
      return "ssh invite";
  }
  return "unknown";
}

std::string_view to_string(TokenError error) {
  switch (error) {
    case TokenError::NotAToken:
      return "not a token";
    case TokenError::WrongKind:
      return "a token of another kind";
    case TokenError::Truncated:
      return "token is cut off";
    case TokenError::Mistyped:
      return "token is mistyped";
    case TokenError::UnsupportedVersion:
      return "token was made by a newer version";
    case TokenError::Invalid:
      return "token makes no sense";
  }
  return "unknown";
}

std::string relay_name(const RelayRef& relay) {
  return relay.host + ":" + std::to_string(relay.port);
}

std::string format_token(const Token& token) {
  CHECK(token.version == kVersion && is_valid(token));
  Bytes out;
  Writer writer(out);
  writer.u8(kVersion);
  writer.u16(0);  // the total, below
  write_field(writer, kSessionId, token.session_id);
  write_field(writer, kExpires, number(static_cast<std::uint64_t>(token.expires.time_since_epoch().count())));
  write_field(writer, kCapabilities, number(token.capabilities));
  write_field(writer, kListenerDerp, token.listener_derp.bytes);
  write_field(writer, kListenerNoise, token.listener_noise.bytes);
  write_field(writer, kPsk, token.psk.expose());
  for (const RelayRef& relay : token.relays) write_field(writer, kRelay, serialize_relay(relay));
  const std::size_t total = out.size() + kChecksumSize;
  CHECK(total <= kMaxTokenBytes);
  out[1] = static_cast<std::byte>(total >> 8);
  out[2] = static_cast<std::byte>(total & 0xff);
  writer.u32(crc32(out));
  return std::string(prefix_of(TokenKind::OneShot)) + to_base64url(out);
}

std::optional<TokenKind> token_kind(std::string_view text) {
  text = trimmed(text);
  for (const TokenKind kind : {TokenKind::OneShot, TokenKind::TunnelServer, TokenKind::TunnelClient}) {
    if (text.starts_with(prefix_of(kind))) return kind;
  }
  return std::nullopt;
}

std::expected<Token, TokenError> parse_token(std::string_view text) {
  text = trimmed(text);
  const auto kind = token_kind(text);
  if (!kind) return std::unexpected(TokenError::NotAToken);
  if (*kind != TokenKind::OneShot) return std::unexpected(TokenError::WrongKind);
  const auto bytes = open_envelope(text.substr(prefix_of(*kind).size()));
  if (!bytes) return std::unexpected(bytes.error());
  const auto version = static_cast<std::uint8_t>((*bytes)[0]);
  if (version > kVersion) return std::unexpected(TokenError::UnsupportedVersion);
  if (version == 0) return std::unexpected(TokenError::Invalid);
  auto token =
      read_fields(ByteView(*bytes).subspan(kHeaderSize, bytes->size() - kHeaderSize - kChecksumSize));
  if (token) token->version = version;
  return token;
}

}  // namespace dh::session
