#pragma once

#include "base/bytes.hh"

namespace dh::transfer {

/// XXH3-128 of one block. It catches our own mistakes, a torn write and a bad disk; attackers are kept out by
/// the tags of the session, and a resume is agreed on by a cryptographic digest.
using BlockDigest = ByteArray<16>;
BlockDigest block_digest(ByteView block);

/// XXH3-64: for tables, where collisions cost nothing but time.
std::uint64_t short_hash(ByteView bytes);

}  // namespace dh::transfer
