#pragma once

// CPace: two sides that share a few words agree on a key, and whoever guesses the words wrong learns only
// that. Initiator-responder mode of draft-irtf-cfrg-cpace over ristretto255 with SHA-512
// (CPACE-RISTR255-SHA512), with its optional confirmation tags. Spec: docs/protocol/code.md "CPace".

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "crypto/secret.hh"

namespace dh {

/// Each part behind its length in LEB128: no two lists of parts give the same bytes.
Bytes lv_cat(std::initializer_list<ByteView> parts);

/// What both sides must have in common; a difference anywhere gives different keys.
struct CpaceInputs {
  ByteView password;    // "PRS": the words
  ByteView channel;     // "CI": who meets where
  ByteView session_id;  // "sid": fresh, with a share of both sides
};

/// What a finished exchange gives. The tags prove knowledge of the key: send `own_tag`, compare with
/// `peer_tag`.
struct CpaceKeys {
  Secret<64> isk;
  Secret<64> own_tag;
  Secret<64> peer_tag;
};

using CpacePoint = ByteArray<32>;

/// One side of one exchange. A value; wipes itself.
class Cpace {
public:
  enum class Side : std::uint8_t { Initiator, Responder };

  /// `rng` makes the secret scalar. `own_data` ("ADa", "ADb") goes with the point and is authenticated.
  Cpace(Side side, const CpaceInputs& inputs, Bytes own_data, Rng& rng);

  /// To be sent to the other side.
  const CpacePoint& point() const { return point_; }
  /// Errors: nullopt when `peer_point` is no canonical encoding or the identity: end the exchange.
  std::optional<CpaceKeys> finish(const CpacePoint& peer_point, ByteView peer_data) const;

private:
  Side side_;
  Bytes session_id_;
  Bytes own_data_;
  Secret<32> scalar_;
  CpacePoint point_{};
};

/// The generator that inputs map to; for tests with published vectors.
CpacePoint cpace_generator(const CpaceInputs& inputs);

}  // namespace dh
