#include <cstdint>
#include <optional>

#include "lab/link_model.hh"

namespace dh::lab {
namespace {

constexpr std::uint8_t kUdp = 17;
constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kUdpChecksum = 6;  // offset in the UDP header

std::uint8_t u8(ByteView packet, std::size_t at) {
  return std::to_integer<std::uint8_t>(packet[at]);
}
std::uint16_t u16(ByteView packet, std::size_t at) {
  return static_cast<std::uint16_t>(u8(packet, at) << 8 | u8(packet, at + 1));
}
void put_u16(ByteSpan packet, std::size_t at, std::uint16_t value) {
  packet[at] = static_cast<std::byte>(value >> 8);
  packet[at + 1] = static_cast<std::byte>(value & 0xff);
}

struct Transport {
  std::size_t offset = 0;
  bool udp = false;  // a whole UDP packet
};

std::optional<Transport> transport(ByteView packet) {
  if (packet.empty()) return std::nullopt;
  Transport found;
  const unsigned version = u8(packet, 0) >> 4;
  if (version == 4 && packet.size() >= 20) {
    found.offset = (u8(packet, 0) & 0x0fU) * 4UL;
    const bool fragment = (u16(packet, 6) & 0x3fff) != 0;
    found.udp = u8(packet, 9) == kUdp && !fragment;
  } else if (version == 6 && packet.size() >= 40) {
    found.offset = 40;
    found.udp = u8(packet, 6) == kUdp;
  } else {
    return std::nullopt;
  }
  if (found.offset < 20 || found.offset >= packet.size()) return std::nullopt;
  return found;
}

// RFC 1624: what the checksum becomes when one 16-bit word it covers changes.
std::uint16_t mended(std::uint16_t checksum, std::uint16_t before, std::uint16_t after) {
  std::uint32_t sum = static_cast<std::uint16_t>(~checksum);
  sum += static_cast<std::uint16_t>(~before);
  sum += after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  const auto result = static_cast<std::uint16_t>(~sum);
  return result == 0 ? std::uint16_t{0xffff} : result;  // 0 would say that there is none
}

}  // namespace

bool corrupt_packet(ByteSpan packet, Rng& rng) {
  const auto found = transport(packet);
  if (!found) return false;
  const std::size_t payload = found->offset + kUdpHeader;
  const bool mend = found->udp && packet.size() > payload;
  const std::size_t first = mend ? payload : found->offset;
  const std::size_t at = first + rng.below(packet.size() - first);
  const auto bit = static_cast<std::byte>(1U << rng.below(8));
  // The 16-bit word of the checksum this byte is in; the last one of an odd payload is padded with zero.
  const std::size_t word = at - (at - found->offset) % 2;
  const auto read = [&] {
    return word + 1 < packet.size() ? u16(packet, word) : static_cast<std::uint16_t>(u8(packet, word) << 8);
  };
  const std::uint16_t before = read();
  packet[at] ^= bit;
  if (mend) {
    const std::size_t field = found->offset + kUdpChecksum;
    const std::uint16_t checksum = u16(packet, field);
    if (checksum != 0) put_u16(packet, field, mended(checksum, before, read()));
  }
  return true;
}

}  // namespace dh::lab
