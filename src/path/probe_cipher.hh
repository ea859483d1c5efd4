#pragma once

#include <memory>

#include "crypto/aead.hh"
#include "crypto/keys.hh"
#include "crypto/replay_window.hh"
#include "wire/path_probe.hh"

namespace dh::path {

/// What probes are sealed with; from the finished handshake. Spec: docs/protocol/paths.md "Probe".
struct ProbeKeys {
  Secret<32> send, receive;  // one key per direction: a reflected probe does not open
  std::uint32_t local_index = 0, peer_index = 0;
  PublicKey dialer, listener;  // DERP keys of both ends, in the associated data of every probe
};

/// Seals our probes and opens the peer's. Movable, not copyable: a copy would repeat nonces.
class ProbeCipher {
public:
  explicit ProbeCipher(const ProbeKeys& keys);

  enum class Verdict : std::uint8_t {
    Opened,
    NotForUs,  // not a probe of this session
    Forged,
    Replayed,
  };
  struct Opened {
    Verdict verdict = Verdict::NotForUs;
    wire::ProbeBody body;
  };

  /// Writes `size` bytes to the front of `out`: kProbeSize, or for a ping up to kMaxProbeSize.
  void seal(const wire::ProbeBody& body, ByteSpan out, std::size_t size = wire::kProbeSize);
  Opened unseal(ByteView datagram);

private:
  Bytes associated_data(const wire::ProbeHeader& header) const;

  std::unique_ptr<Aead> seal_, open_;
  std::uint32_t local_index_, peer_index_;
  PublicKey dialer_, listener_;
  std::uint64_t next_counter_ = 0;
  ReplayWindow replay_;
};

}  // namespace dh::path
