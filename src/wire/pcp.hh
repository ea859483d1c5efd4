#pragma once

// PCP (RFC 6887), version 2: ANNOUNCE and MAP, without options. Shares UDP port 5351 with NAT-PMP.
// docs/protocol/port-mapping.md has every byte. Big-endian.

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "base/address.hh"

namespace dh::wire::pcp {

inline constexpr std::uint8_t kVersion = 2;       // first byte of every message
inline constexpr std::size_t kHeaderSize = 24;    // bytes
inline constexpr std::size_t kMaxMessage = 1100;  // bytes; RFC 6887 §7
using Nonce = ByteArray<12>;

enum class Opcode : std::uint8_t { Announce = 0, Map = 1 };

/// Values above ExcessiveRemotePeers are unassigned and may come.
enum class Result : std::uint8_t {
  Success = 0,
  UnsupportedVersion = 1,
  NotAuthorized = 2,
  MalformedRequest = 3,
  UnsupportedOpcode = 4,
  UnsupportedOption = 5,
  MalformedOption = 6,
  NetworkFailure = 7,
  NoResources = 8,
  UnsupportedProtocol = 9,
  UserExceededQuota = 10,
  CannotProvideExternal = 11,
  AddressMismatch = 12,  // the request came from another address than it says: a NAT stands between
  ExcessiveRemotePeers = 13,
};
std::string_view to_string(Result result);

enum class Protocol : std::uint8_t { Tcp = 6, Udp = 17 };

/// The MAP opcode's part of requests and replies. On an IPv6 gateway it opens a pinhole in the firewall.
struct Mapping {
  Nonce nonce{};  // who made a mapping proves it by repeating the nonce
  Protocol protocol = Protocol::Udp;
  std::uint16_t internal_port = 0;
  std::uint16_t external_port = 0;  // in requests: wished for
  IpAddress external_address;       // in requests: wished for; unspecified of the right family for any

  static constexpr std::size_t kSize = 36;
  bool operator==(const Mapping&) const = default;
};

struct Request {
  std::chrono::duration<std::uint32_t> lifetime{};  // 0 deletes; 0 for ANNOUNCE
  IpAddress client;                                 // must be the address the datagram leaves from
  std::optional<Mapping> mapping;                   // empty: ANNOUNCE

  void serialize(Writer& w) const;
  /// Errors: BadMagic for another version or a reply, BadValue for another opcode or protocol or for options,
  /// Truncated, TooLong.
  static std::expected<Request, WireError> parse(ByteView datagram);
  bool operator==(const Request&) const = default;
};

struct Reply {
  std::uint8_t opcode = 0;  // any where refused
  Result result = Result::Success;
  std::chrono::duration<std::uint32_t> lifetime{};  // of the mapping; where refused, of the refusal
  std::chrono::duration<std::uint32_t> epoch{};     // since the gateway's mappings were last lost
  std::optional<Mapping> mapping;                   // always in a granted MAP; where refused, if it was whole

  void serialize(Writer& w) const;
  /// Options are ignored.
  /// Errors: BadMagic for another version or a request, BadValue for a length that is no multiple of 4 or for
  /// success of another opcode or protocol, Truncated, TooLong.
  static std::expected<Reply, WireError> parse(ByteView datagram);
  bool operator==(const Reply&) const = default;
};

}  // namespace dh::wire::pcp
