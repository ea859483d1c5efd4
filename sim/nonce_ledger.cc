#include "sim/nonce_ledger.hh"

#include <stdexcept>

namespace dh::sim {

void NonceLedger::on_seal(ByteView key, ByteView nonce) {
  ++seals_;
  const auto* chars = reinterpret_cast<const char*>(nonce.data());
  if (!used_[to_bytes(key)].emplace(chars, nonce.size()).second)
    throw std::runtime_error("a key has sealed twice under one nonce: whoever listens can now read both");
}

}  // namespace dh::sim
