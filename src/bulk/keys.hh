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
    std::unique_ptr<Aead> aead;
    Aead::Nonce iv{};

    Aead::Nonce nonce(std::uint64_t packet_number) const;
  };
  /// The next epoch, beginning with 0.
  Epoch next();

private:
  AeadKind kind_;
  Secret<64> secret_;
};

/// Seals the packets of one path and direction and changes keys in time.
class PacketSealer {
public:
  PacketSealer(const StreamConfig& config, Direction direction, PathId path);

  /// `out`: room for the header, `plain_size` bytes of frames already in place behind it, and the tag. The
  /// header gets the next packet number. Returns the datagram's size.
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

  /// Opens in place. `plain` is set when Opened. `old_key_life`: how long a replaced key is kept.
  Result unseal(const wire::BulkHeader& header, ByteSpan datagram, Duration old_key_life, Instant now,
                ByteSpan& plain);
  std::uint64_t updates() const { return epoch_number_; }

private:
  KeyChain chain_;
  KeyChain::Epoch current_;
  KeyChain::Epoch next_;      // made ready so that a forged phase bit costs no derivation
  KeyChain::Epoch previous_;  // null before the first update and after previous_until_
  Instant previous_until_{};
  std::uint64_t epoch_number_ = 0;
  std::uint64_t epoch_start_ = 0;  // lowest packet number opened with current_
  ReplayWindow window_;
};

}  // namespace dh::bulk
