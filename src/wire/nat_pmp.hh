#pragma once

// NAT-PMP (RFC 6886): what a host asks of its IPv4 gateway on UDP port 5351 and what comes back.
// docs/protocol/port-mapping.md has every byte. Big-endian.

#include <chrono>
#include <cstdint>
#include <expected>
#include <string_view>
#include <variant>

#include "base/address.hh"

namespace dh::wire::nat_pmp {

inline constexpr std::uint16_t kPort = 5351;              // of the gateway; PCP shares it
inline constexpr std::uint16_t kAnnouncementPort = 5350;  // hosts hear 224.0.0.1 there
inline constexpr std::uint8_t kVersion = 0;               // first byte of every message

/// Values above OpcodeUnsupported are unassigned and may come.
enum class Result : std::uint16_t {
  Success = 0,
  UnsupportedVersion = 1,
  NotAuthorized = 2,   // switched off in the gateway's settings
  NetworkFailure = 3,  // the gateway has no address itself
  OutOfResources = 4,
  OpcodeUnsupported = 5,
};
std::string_view to_string(Result result);

enum class Transport : std::uint8_t { Udp = 1, Tcp = 2 };  // values are the opcodes

/// What is the gateway's outer address?
struct AddressRequest {
  static constexpr std::size_t kSize = 2;
  void serialize(Writer& w) const;
  bool operator==(const AddressRequest&) const = default;
};

/// Forward a port to me. A lifetime of 0 with external port 0 deletes.
struct MapRequest {
  Transport transport = Transport::Udp;
  std::uint16_t internal_port = 0;
  std::uint16_t external_port = 0;  // wished for; the gateway may choose another
  std::chrono::duration<std::uint32_t> lifetime{};

  static constexpr std::size_t kSize = 12;
  void serialize(Writer& w) const;
  bool operator==(const MapRequest&) const = default;
};

using Request = std::variant<AddressRequest, MapRequest>;
/// Errors: BadMagic for another version or an answer, BadValue for an unknown opcode, Truncated, TooLong.
std::expected<Request, WireError> parse_request(ByteView datagram);

struct AddressReply {
  std::chrono::duration<std::uint32_t> epoch{};  // since the gateway's mappings were last lost
  IpAddress external;

  static constexpr std::size_t kSize = 12;
  void serialize(Writer& w) const;
  bool operator==(const AddressReply&) const = default;
};

struct MapReply {
  Transport transport = Transport::Udp;
  std::chrono::duration<std::uint32_t> epoch{};
  std::uint16_t internal_port = 0;
  std::uint16_t external_port = 0;
  std::chrono::duration<std::uint32_t> lifetime{};

  static constexpr std::size_t kSize = 16;
  void serialize(Writer& w) const;
  bool operator==(const MapReply&) const = default;
};

/// Any answer with a result other than Success. What follows its epoch means nothing and is ignored.
struct Refusal {
  std::uint8_t opcode = 0;  // of the request
  Result result = Result::UnsupportedVersion;
  std::chrono::duration<std::uint32_t> epoch{};

  static constexpr std::size_t kSize = 8;
  void serialize(Writer& w) const;
  bool operator==(const Refusal&) const = default;
};

using Reply = std::variant<AddressReply, MapReply, Refusal>;
/// Bytes after a reply's last field are ignored: gateways pad.
/// Errors: BadMagic for another version or a request, BadValue for success of an unknown opcode, Truncated.
std::expected<Reply, WireError> parse_reply(ByteView datagram);

}  // namespace dh::wire::nat_pmp
