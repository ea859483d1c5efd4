#pragma once

#include <map>
#include <string>
#include <unordered_set>

#include "crypto/seal_watch.hh"

namespace dh::sim {

/// Remembers every key and nonce that our code in this process seals with while it lives
/// (crypto/seal_watch.hh says what that leaves out), and throws at the first pair that comes twice. The
/// youngest is the one that is told.
class NonceLedger final : public SealWatcher {
public:
  NonceLedger() { watch_seals(this); }
  ~NonceLedger() override { watch_seals(before_); }
  NonceLedger(const NonceLedger&) = delete;

  void on_seal(ByteView key, ByteView nonce) override;
  std::size_t keys() const { return used_.size(); }
  std::uint64_t seals() const { return seals_; }

private:
  SealWatcher* const before_ = seal_watcher();
  std::map<Bytes, std::unordered_set<std::string>> used_;  // nonces by key
  std::uint64_t seals_ = 0;
};

}  // namespace dh::sim
