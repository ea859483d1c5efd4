#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "base/address.hh"
#include "base/bytes.hh"
#include "crypto/keys.hh"

// The frames of the DERP protocol as plain values. docs/protocol/derp.md has every byte.
// A struct's parse() takes the payload alone; serialize() writes the whole frame, header included. Views in a
// parsed struct point into the payload. Trailing bytes are ignored exactly where the comments say so.
namespace dh::wire::derp {

enum class FrameType : std::uint8_t {
  ServerKey = 0x01,
  ClientInfo = 0x02,
  ServerInfo = 0x03,
  SendPacket = 0x04,
  RecvPacket = 0x05,
  KeepAlive = 0x06,
  NotePreferred = 0x07,
  PeerGone = 0x08,
  PeerPresent = 0x09,
  ForwardPacket = 0x0a,
  WatchConns = 0x10,
  ClosePeer = 0x11,
  Ping = 0x12,
  Pong = 0x13,
  Health = 0x14,
  Restarting = 0x15,
};

inline constexpr std::size_t kFrameHeaderSize = 5;              // bytes: type and length
inline constexpr std::size_t kDerpKeySize = 32;                 // bytes
inline constexpr std::uint32_t kDerpVersion = 2;                // spoken by every relay since 2020
inline constexpr std::size_t kMaxPacketSize = 64u << 10;        // bytes of one packet, keys not counted
inline constexpr std::size_t kMaxFramePayload = 1u << 20;       // beyond: the stream is not worth following
inline constexpr std::size_t kMaxServerKeyPayload = 1024;       // clients take 40 bytes and ignore the rest
inline constexpr std::size_t kMaxClientInfoPayload = 1u << 18;  // what a relay reads before it knows anybody
inline constexpr std::size_t kMaxPingPayload = 1000;            // a relay skips what follows the 8 bytes
inline constexpr std::size_t kPingSize = 8;                     // bytes of a Ping or Pong that count
inline constexpr ByteArray<8> kDerpMagic = {std::byte{0x44}, std::byte{0x45}, std::byte{0x52},
                                            std::byte{0x50}, std::byte{0xf0}, std::byte{0x9f},
                                            std::byte{0x94}, std::byte{0x91}};

/// True for packets a relay queues apart and answers with PeerGone(NotHere): disco's magic and at least the
/// 62 bytes of its smallest envelope.
bool looks_like_disco(ByteView packet);

//   0      1        5
//   | type | length |   length: payload only, big-endian. Any type and length is a valid header.
struct FrameHeader {
  FrameType type{};
  std::uint32_t length = 0;  // bytes of payload

  void write_to(std::byte* at) const {
    *at = static_cast<std::byte>(type);
    store_be32(at + 1, length);
  }
  static FrameHeader read_from(const std::byte* at) {
    return {static_cast<FrameType>(*at), load_be32(at + 1)};
  }
  void serialize(Writer& w) const;
  bool operator==(const FrameHeader&) const = default;
};

//   | magic[8] | key[32] | ignored |
struct ServerKeyFrame {
  PublicKey key;

  void serialize(Writer& w) const;
  static std::expected<ServerKeyFrame, WireError> parse(ByteView payload);
};

//   | client key[32] | nonce[24] | tag[16] | JSON |   (from the nonce on: derp/login.hh)
struct ClientInfoFrame {
  PublicKey key;
  ByteView sealed;

  void serialize(Writer& w) const;
  static std::expected<ClientInfoFrame, WireError> parse(ByteView payload);
};

//   | nonce[24] | tag[16] | JSON |
struct ServerInfoFrame {
  ByteView sealed;

  void serialize(Writer& w) const;
  static std::expected<ServerInfoFrame, WireError> parse(ByteView payload);
};

//   | to[32] | packet |
struct SendPacketFrame {
  PublicKey to;
  ByteView packet;

  void serialize(Writer& w) const;
  static std::expected<SendPacketFrame, WireError> parse(ByteView payload);
};

//   | from[32] | packet |
struct RecvPacketFrame {
  PublicKey from;
  ByteView packet;

  void serialize(Writer& w) const;
  static std::expected<RecvPacketFrame, WireError> parse(ByteView payload);
};

//   | from[32] | to[32] | packet |
struct ForwardPacketFrame {
  PublicKey from;
  PublicKey to;
  ByteView packet;

  void serialize(Writer& w) const;
  static std::expected<ForwardPacketFrame, WireError> parse(ByteView payload);
};

// No payload, no answer.
struct KeepAliveFrame {
  void serialize(Writer& w) const;
};
struct WatchConnsFrame {
  void serialize(Writer& w) const;
};

//   | home |   exactly one byte; anything but 0 means yes
struct NotePreferredFrame {
  bool home = false;

  void serialize(Writer& w) const;
  static std::expected<NotePreferredFrame, WireError> parse(ByteView payload);
};

//   | peer[32] | reason | ignored |   old servers leave the reason out: 0
struct PeerGoneFrame {
  PublicKey peer;
  std::uint8_t reason = 0;  // 0 disconnected, 1 not here; others may come

  void serialize(Writer& w) const;
  static std::expected<PeerGoneFrame, WireError> parse(ByteView payload);
};

//   | peer[32] | ip[16] | port[2] | flags | ignored |   old servers stop after the key or after the port
struct PeerPresentFrame {
  static constexpr std::uint8_t kRegular = 1, kMeshPeer = 2, kProber = 4, kNotIdeal = 8;

  PublicKey peer;
  std::optional<Endpoint> address;  // 16 zero bytes and port 0: not known
  std::uint8_t flags = 0;

  void serialize(Writer& w) const;
  static std::expected<PeerPresentFrame, WireError> parse(ByteView payload);
};

//   | peer[32] |   exactly
struct ClosePeerFrame {
  PublicKey peer;

  void serialize(Writer& w) const;
  static std::expected<ClosePeerFrame, WireError> parse(ByteView payload);
};

//   | data[8] | ignored |
struct PingFrame {
  ByteArray<kPingSize> data{};

  void serialize(Writer& w) const;
  static std::expected<PingFrame, WireError> parse(ByteView payload);
};

struct PongFrame {
  ByteArray<kPingSize> data{};

  void serialize(Writer& w) const;
  static std::expected<PongFrame, WireError> parse(ByteView payload);
};

//   | text |   empty: healthy again
struct HealthFrame {
  std::string_view problem;

  void serialize(Writer& w) const;
  static std::expected<HealthFrame, WireError> parse(ByteView payload);
};

//   | reconnect_in[4] | try_for[4] | ignored |   milliseconds
struct RestartingFrame {
  std::chrono::milliseconds reconnect_in{};
  std::chrono::milliseconds try_for{};

  void serialize(Writer& w) const;
  static std::expected<RestartingFrame, WireError> parse(ByteView payload);
};

}  // namespace dh::wire::derp
