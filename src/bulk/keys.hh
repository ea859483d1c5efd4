#pragma once

#include <memory>
#include <optional>

#include "bulk/replay_window.hh"
#include "bulk/stream.hh"
#include "wire/bulk_packet.hh"

namespace dh::bulk {

/// Which way packets travel; each way has keys of its own.
enum class Direction : std::uint8_t {
  ToReceiver = 0,
  ToSender = 1,
};

/// The chain of keys of one path and direction. Each epoch's secret gives its key, its IV and the next
/// secret, and is then forgotten, so a stolen key opens nothing older.
class KeyChain {
public:
  KeyChain(const StreamConfig& config, Direction direction, PathId path);

  /// One epoch, ready to use.
  struct Epoch {
    std::shared_ptr<Aead> aead;  // null: there is no such epoch (any more)
    Aead::Nonce iv{};
    AeadKind kind = AeadKind::Aes256Gcm;
    Secret<Aead::kKeySize> key;

    Aead::Nonce nonce(std::uint64_t packet_number) const;
    /// The same key in a context of its own, for another thread.
    Epoch twin() const;
  };
  /// The next epoch, beginning with 0.
  Epoch next();

private:
  AeadKind kind_;
  Secret<64> secret_;
};

/// What is left to do before a datagram may leave: sealing it. May be done on any thread, and for one path on
/// one thread at a time, before what was prepared behind it or after.
class Seal {
public:
  Seal() = default;
  Seal(std::shared_ptr<Aead> aead, const Aead::Nonce& nonce) : aead_(std::move(aead)), nonce_(nonce) {}
  explicit operator bool() const { return aead_ != nullptr; }
  /// Once. `datagram`: header, frames, and room for the tag, in its final size.
  void apply(ByteSpan datagram) const;

private:
  std::shared_ptr<Aead> aead_;
  Aead::Nonce nonce_{};
};

/// Seals the packets of one path and direction and changes keys in time.
class PacketSealer {
public:
  PacketSealer(const StreamConfig& config, Direction direction, PathId path);

  struct Prepared {
    std::size_t size;  // of the datagram
    Seal seal;
  };
  /// `out`: room for the header, `plain_size` bytes of frames already in place behind it, and the tag. The
  /// header gets the next packet number.
  Prepared prepare(ByteSpan out, std::size_t plain_size, bool ack_me, bool end_of_burst);
  /// Prepares and seals at once. Returns the datagram's size.
  std::size_t seal(ByteSpan out, std::size_t plain_size, bool ack_me, bool end_of_burst);
  std::uint64_t next_number() const { return next_number_; }

  /// The peer has acknowledged `number`: when it was sealed with the newest key, the peer has that key.
  void on_acked(std::uint64_t number);
  /// A key update that waits to be confirmed: whoever sends only acks should make one of them ack-eliciting.
  bool wants_confirmation() const { return !confirmed_ && epoch_number_ > 0; }
  std::uint64_t updates() const { return epoch_number_; }

private:
  KeyChain chain_;
  KeyChain::Epoch epoch_;
  std::uint64_t epoch_number_ = 0;
  std::uint64_t epoch_start_ = 0;  // first packet number sealed with this key
  std::uint64_t update_after_;     // what one key may seal, in small packets
  std::uint64_t sealed_ = 0;       // with this key, so counted
  std::uint64_t next_number_ = 0;
  bool confirmed_ = false;
  std::uint32_t connection_id_;
  PathId path_;
};

/// What became of a datagram that was opened before its receiver saw it.
struct Opened {
  bool genuine = false;
  std::uint64_t epoch = 0;  // whose key was tried
};

/// Opens a path's datagrams ahead of their PacketOpener, on another thread: a snapshot of its keys. It is
/// right for whatever a peer sends that has not been told of a newer key than these, so it must be replaced
/// before the ack of the first packet under such a key leaves. Used by one thread at a time.
class AheadOpener {
public:
  /// Authenticates and decrypts in place. Empty: not a datagram of this path, left as it was.
  std::optional<Opened> unseal(ByteSpan datagram);

private:
  friend class PacketOpener;
  PathId path_ = 0;
  std::uint64_t epoch_number_ = 0, epoch_start_ = 0;  // as in PacketOpener
  KeyChain::Epoch previous_, current_, next_;
};

/// Opens them at the other end.
class PacketOpener {
public:
  enum class Result : std::uint8_t {
    Opened,
    Forged,    // did not authenticate
    Repeated,  // an exact replay or a duplicated datagram
    TooOld,    // behind the replay window, or its key is gone
  };

  PacketOpener(const StreamConfig& config, Direction direction, PathId path);

  /// Opens in place, unless that was done ahead. `plain` is set when Opened. `old_key_life`: how long a
  /// replaced key is kept.
  Result unseal(const wire::BulkHeader& header, ByteSpan datagram, Duration old_key_life, Instant now,
                ByteSpan& plain, const std::optional<Opened>& ahead = {});
  std::uint64_t updates() const { return epoch_number_; }
  /// Rises whenever an ahead() made earlier is out of date.
  std::uint64_t keys_version() const { return keys_version_; }
  std::shared_ptr<AheadOpener> ahead() const;

private:
  PathId path_;
  KeyChain chain_;
  KeyChain::Epoch current_;
  KeyChain::Epoch next_;      // made ready so that a forged phase bit costs no derivation
  KeyChain::Epoch previous_;  // null before the first update and after previous_until_
  Instant previous_until_{};
  std::uint64_t epoch_number_ = 0;
  std::uint64_t epoch_start_ = 0;  // lowest packet number opened with current_
  std::uint64_t keys_version_ = 0;
  ReplayWindow window_;
};

}  // namespace dh::bulk
