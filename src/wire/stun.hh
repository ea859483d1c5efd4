#pragma once

#include <cstdint>
#include <expected>

#include "base/address.hh"
#include "base/bytes.hh"

// STUN binding (RFC 5389), as far as relays and clients speak it. docs/protocol/stun.md has every byte.
namespace dh::wire::stun {

inline constexpr std::size_t kHeaderSize = 20;   // bytes
inline constexpr std::size_t kRequestSize = 40;  // header, SOFTWARE "tailnode", FINGERPRINT
inline constexpr std::uint16_t kDefaultPort = 3478;

/// Chosen at random by who asks; the answer repeats it.
using TransactionId = ByteArray<12>;

/// The binding request every relay's STUN server answers.
ByteArray<kRequestSize> make_request(const TransactionId& id);

enum class RequestKind : std::uint8_t {
  NotStun,      // no STUN header: something else shares the port
  Unsupported,  // STUN, but no binding request that may be answered: malformed, or asking for more
  Plain,        // a well-formed RFC 5389 request, what generic clients send
  Tailnode,     // what DERP clients send: SOFTWARE "tailnode" and a right FINGERPRINT at the end
};

struct Request {
  RequestKind kind = RequestKind::NotStun;
  TransactionId id{};  // valid for Plain and Tailnode
};

/// True when a datagram has a STUN header: for sharing a socket with other protocols.
bool has_header(ByteView datagram);
Request classify(ByteView datagram);

/// A binding success with XOR-MAPPED-ADDRESS: 32 bytes for IPv4, 44 for IPv6. An IPv4 source is always named
/// as such, never as IPv4-mapped IPv6.
Bytes make_reply(const TransactionId& id, const Endpoint& source);

struct Reply {
  TransactionId id{};  // the caller matches it with a request of its own
  Endpoint mapped;     // unmapped IPv4 where it was IPv4-mapped IPv6
};

/// Errors: BadMagic without a STUN header, BadValue for another message or an answer without an address,
/// Truncated when a length points past the end. Bytes after the declared length are ignored.
std::expected<Reply, WireError> parse_reply(ByteView datagram);

}  // namespace dh::wire::stun
