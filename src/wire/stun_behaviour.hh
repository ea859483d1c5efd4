#pragma once

// The extra of RFC 5780 on top of plain STUN binding (wire/stun.hh): a client asks to be answered from
// another address or port of the server, and so learns how its NAT maps and filters.
// docs/protocol/relay-server.md §9.

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

}  // namespace dh::wire::stun
