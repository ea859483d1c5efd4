#pragma once

// The extra of RFC 5780 on top of plain STUN binding (wire/stun.hh): a client asks to be answered from
// another address or port of the server, and so learns how its NAT maps and filters.
// docs/protocol/relay-server.md §9.

#include <expected>
#include <optional>

#include "base/address.hh"
#include "base/bytes.hh"

namespace dh::wire::stun {

/// A binding request that may carry CHANGE-REQUEST and no other attribute the server would have to
/// understand.
struct BehaviourRequest {
  ByteArray<12> id{};
  bool change_address = false;
  bool change_port = false;
  bool operator==(const BehaviourRequest&) const = default;
};
/// nullopt for anything else, malformed attributes and other bits in CHANGE-REQUEST included.
std::optional<BehaviourRequest> parse_behaviour_request(ByteView datagram);

/// A binding success with XOR-MAPPED-ADDRESS `source`, RESPONSE-ORIGIN `origin` and OTHER-ADDRESS `other`: 56
/// bytes for IPv4, 92 for IPv6.
Bytes make_behaviour_reply(const ByteArray<12>& id, const Endpoint& source, const Endpoint& origin,
                           const Endpoint& other);

/// 20 bytes, or 28 with CHANGE-REQUEST. Generic servers answer it; DERP relays answer only
/// stun::make_request().
Bytes make_behaviour_request(const BehaviourRequest& request);

/// A binding success as a client reads it. A server that can answer from elsewhere says so in `other`.
struct BehaviourReply {
  ByteArray<12> id{};
  Endpoint mapped;
  std::optional<Endpoint> origin;  // RESPONSE-ORIGIN: where the server says it answers from
  std::optional<Endpoint> other;   // OTHER-ADDRESS: its other address and other port
  bool operator==(const BehaviourReply&) const = default;
};
/// Errors: those of stun::parse_reply(). A RESPONSE-ORIGIN or OTHER-ADDRESS that cannot be read counts as
/// absent; what they name is the server's word alone.
std::expected<BehaviourReply, WireError> parse_behaviour_reply(ByteView datagram);

}  // namespace dh::wire::stun
