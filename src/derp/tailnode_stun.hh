#pragma once

#include <optional>

#include "base/bytes.hh"

namespace dh::derp {

/// The 40-byte STUN binding request that derper answers: SOFTWARE "tailnode" first, FINGERPRINT last. Other
/// well-formed requests it ignores.
Bytes make_tailnode_request(const ByteArray<12>& transaction);

/// The transaction a datagram answers; empty unless it is a binding success response. Its attributes are not
/// looked at: for a round trip the id is enough.
std::optional<ByteArray<12>> stun_answer_id(ByteView datagram);

}  // namespace dh::derp
