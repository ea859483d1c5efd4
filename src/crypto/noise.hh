#pragma once

// The Noise protocol framework (revision 34) over 25519, ChaChaPoly and SHA512: the twelve interactive
// patterns with at most one pre-shared key. Values; no IO. Knows nothing about datagrams, retries or replay.
// What derphole does with it: docs/protocol/handshake.md.

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "crypto/keys.hh"
#include "crypto/secret.hh"

namespace dh {

enum class NoiseError : std::uint8_t {
  Truncated,  // shorter than its tokens need
  BadPoint,   // a low-order public key
  Forged,     // a part does not authenticate
};
std::string_view to_string(NoiseError error);

/// A key with a counting nonce (Noise §5.1, CipherState). Copyable; a copy must not be used beside the
/// original.
class NoiseCipher {
public:
  static constexpr std::size_t kTagSize = 16;  // bytes

  NoiseCipher() = default;
  explicit NoiseCipher(const Secret<32>& key) : key_(key) {}
  bool has_key() const { return key_.has_value(); }
  /// Without a key both pass the bytes through.
  Bytes encrypt(ByteView aad, ByteView plain);
  std::optional<Bytes> decrypt(ByteView aad, ByteView sealed);

private:
  std::optional<Secret<32>> key_;
  std::uint64_t nonce_ = 0;
};

/// Chaining key and transcript hash (Noise §5.2, SymmetricState).
class NoiseSymmetric {
public:
  explicit NoiseSymmetric(std::string_view protocol_name);
  void mix_hash(ByteView data);
  void mix_key(ByteView input);
  void mix_key_and_hash(ByteView input);
  Bytes seal_and_hash(ByteView plain);
  std::optional<Bytes> open_and_hash(ByteView sealed);
  std::size_t tag_size() const { return cipher_.has_key() ? NoiseCipher::kTagSize : 0; }
  /// First for initiator to responder, second the other way.
  std::pair<NoiseCipher, NoiseCipher> split() const;
  const ByteArray<64>& hash() const { return hash_; }
  const Secret<64>& chaining_key() const { return chaining_key_; }

private:
  Secret<64> chaining_key_;
  ByteArray<64> hash_;
  NoiseCipher cipher_;
};

struct NoiseConfig {
  std::string_view pattern;  // "IK", "IKpsk2", "XX", ...
  bool initiator = false;
  ByteView prologue;                       // copied
  std::optional<KeyPair> local_static;     // where the pattern needs one
  std::optional<PublicKey> remote_static;  // where the pattern knows it beforehand
  std::optional<Secret<32>> psk;           // where the pattern has a psk modifier
};

/// One handshake. Copyable: copy before read_message to try a packet that may be forged, because a failed
/// read leaves the state useless. CHECKs that the calls come in the pattern's order.
class NoiseHandshake {
public:
  /// CHECKs that `pattern` is known and its keys are given: both are the program's choice, never the peer's.
  explicit NoiseHandshake(const NoiseConfig& config);
  static bool is_known(std::string_view pattern);

  /// Our next message around `payload`. Errors: BadPoint when the peer's key makes the result predictable.
  std::expected<Bytes, NoiseError> write_message(ByteView payload, Rng& rng);
  /// The peer's next message; returns its payload. After an error throw the object away.
  std::expected<Bytes, NoiseError> read_message(ByteView message);

  bool finished() const { return next_ == messages_.size(); }
  bool my_turn() const { return !finished() && (next_ % 2 == 0) == initiator_; }
  /// The peer's static key as the pattern revealed it so far.
  const std::optional<PublicKey>& remote_static() const { return remote_static_; }

  // Once finished:
  std::pair<NoiseCipher, NoiseCipher> split() const { return symmetric_.split(); }
  const ByteArray<64>& hash() const { return symmetric_.hash(); }
  /// HMAC-SHA512(ck, label || h): the root of keys outside Noise.
  Secret<64> exporter(std::string_view label) const;

private:
  enum class Word : std::uint8_t { E, S, Ee, Es, Se, Ss, Psk };
  using Words = std::vector<Word>;

  static Words parse_words(std::string_view text);
  bool mix_dh(Word word);

  NoiseSymmetric symmetric_;
  std::vector<Words> messages_;
  std::size_t next_ = 0;
  bool initiator_;
  bool has_psk_ = false;
  std::optional<KeyPair> local_static_, local_ephemeral_;
  std::optional<PublicKey> remote_static_, remote_ephemeral_;
  std::optional<Secret<32>> psk_;
};

}  // namespace dh
