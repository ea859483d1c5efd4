#include "wire/stun.hh"

#include <algorithm>
#include <optional>

namespace dh::wire::stun {
namespace {

constexpr std::uint32_t kCookie = 0x2112a442;
constexpr std::uint32_t kFingerprintXor = 0x5354554e;  // "STUN"
constexpr std::uint16_t kBindingRequest = 0x0001;
constexpr std::uint16_t kBindingSuccess = 0x0101;
constexpr std::uint16_t kMappedAddress = 0x0001;
constexpr std::uint16_t kXorMappedAddress = 0x0020;
constexpr std::uint16_t kXorMappedAddressMistake = 0x8020;  // some servers mark it comprehension-optional
constexpr std::uint16_t kSoftware = 0x8022;
constexpr std::uint16_t kFingerprint = 0x8028;
constexpr std::uint16_t kFirstOptional = 0x8000;  // attributes below must be understood to answer
constexpr std::string_view kTailnode = "tailnode";

struct Attribute {
  std::uint16_t type = 0;
  ByteView value;
  std::size_t offset = 0;  // of its type, in what was walked
};

// Walks attributes; the last one's padding may be missing, as some senders cut it.
class Attributes {
public:
  explicit Attributes(ByteView bytes) : size_(bytes.size()), reader_(bytes) {}

  std::optional<Attribute> next() {
    if (!reader_.ok() || reader_.remaining() == 0) return std::nullopt;
    Attribute attribute;
    attribute.offset = size_ - reader_.remaining();
    attribute.type = reader_.u16();
    const std::size_t size = reader_.u16();
    attribute.value = reader_.bytes(size);
    if (!reader_.ok()) return std::nullopt;
    reader_.skip(std::min((4 - size % 4) % 4, reader_.remaining()));
    return attribute;
  }
  bool well_formed() const { return reader_.ok(); }

private:
  std::size_t size_;
  Reader reader_;
};

std::uint16_t message_type(ByteView datagram) {
  return Reader(datagram).u16();
}

TransactionId id_of(ByteView datagram) {
  Reader r(datagram.subspan(8));
  return r.array<12>();
}

std::uint32_t fingerprint_of(ByteView before) {
  return crc32(before) ^ kFingerprintXor;
}

// cookie || transaction id: what addresses are XORed with.
ByteArray<16> address_mask(const TransactionId& id) {
  ByteArray<16> mask;
  store_be32(mask.data(), kCookie);
  std::copy(id.begin(), id.end(), mask.begin() + 4);
  return mask;
}

std::optional<Endpoint> read_address(ByteView value, const ByteArray<16>& mask) {
  Reader r(value);
  r.skip(1);
  const std::uint8_t family = r.u8();
  const auto port_mask =
      static_cast<std::uint16_t>(static_cast<unsigned>(mask[0]) << 8 | static_cast<unsigned>(mask[1]));
  Endpoint out;
  out.port = static_cast<std::uint16_t>(r.u16() ^ port_mask);
  if (family == 1) {
    auto bytes = r.array<4>();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] ^= mask[i];
    out.address = IpAddress::v4(bytes);
  } else if (family == 2) {
    auto bytes = r.array<16>();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] ^= mask[i];
    out.address = IpAddress::v6(bytes);
  } else {
    return std::nullopt;
  }
  if (!r.ok()) return std::nullopt;
  return out;
}

// As relays check it: over all of the datagram, whatever its length field says.
bool is_tailnode(ByteView datagram) {
  Attributes attributes(datagram.subspan(kHeaderSize));
  bool named = false;
  std::optional<Attribute> last;
  while (auto attribute = attributes.next()) {
    if (attribute->type == kSoftware && as_text(attribute->value) == kTailnode) named = true;
    last = attribute;
  }
  if (!attributes.well_formed() || !named || !last) return false;
  if (last->type != kFingerprint || last->value.size() != 4) return false;
  return load_be32(last->value.data()) == fingerprint_of(datagram.first(kHeaderSize + last->offset));
}

bool is_plain(ByteView datagram) {
  const std::size_t length = Reader(datagram.subspan(2)).u16();
  if (length != datagram.size() - kHeaderSize || length % 4 != 0) return false;
  Attributes attributes(datagram.subspan(kHeaderSize));
  while (auto attribute = attributes.next()) {
    if (attribute->type < kFirstOptional) return false;  // wants credentials or another source address
    if (attribute->type != kFingerprint) continue;
    if (attribute->value.size() != 4) return false;
    if (load_be32(attribute->value.data()) != fingerprint_of(datagram.first(kHeaderSize + attribute->offset)))
      return false;
  }
  return attributes.well_formed();
}

void write_header(Writer& w, std::uint16_t type, std::size_t length, const TransactionId& id) {
  w.u16(type);
  w.u16(static_cast<std::uint16_t>(length));
  w.u32(kCookie);
  w.bytes(id);
}

}  // namespace

ByteArray<kRequestSize> make_request(const TransactionId& id) {
  Bytes out;
  out.reserve(kRequestSize);
  Writer w(out);
  write_header(w, kBindingRequest, kRequestSize - kHeaderSize, id);
  w.u16(kSoftware);
  w.u16(static_cast<std::uint16_t>(kTailnode.size()));
  w.text(kTailnode);
  const std::uint32_t fingerprint = fingerprint_of(out);
  w.u16(kFingerprint);
  w.u16(4);
  w.u32(fingerprint);
  ByteArray<kRequestSize> request;
  std::copy(out.begin(), out.end(), request.begin());
  return request;
}

bool has_header(ByteView datagram) {
  return datagram.size() >= kHeaderSize && (datagram[0] & std::byte{0xc0}) == std::byte{0} &&
         load_be32(datagram.data() + 4) == kCookie;
}

Request classify(ByteView datagram) {
  if (!has_header(datagram)) return {};
  if (message_type(datagram) != kBindingRequest) return {RequestKind::Unsupported, {}};
  if (is_tailnode(datagram)) return {RequestKind::Tailnode, id_of(datagram)};
  if (is_plain(datagram)) return {RequestKind::Plain, id_of(datagram)};
  return {RequestKind::Unsupported, {}};
}

Bytes make_reply(const TransactionId& id, const Endpoint& source) {
  const auto mask = address_mask(id);
  const bool v4 = source.address.is_v4();
  const std::size_t address_size = v4 ? 4 : 16;
  Bytes out;
  out.reserve(kHeaderSize + 8 + address_size);
  Writer w(out);
  write_header(w, kBindingSuccess, 8 + address_size, id);
  w.u16(kXorMappedAddress);
  w.u16(static_cast<std::uint16_t>(4 + address_size));
  w.u8(0);
  w.u8(v4 ? 1 : 2);
  w.u16(static_cast<std::uint16_t>(source.port ^ (kCookie >> 16)));
  const ByteView address = ByteView(source.address.mapped()).last(address_size);
  for (std::size_t i = 0; i < address_size; ++i) w.u8(static_cast<std::uint8_t>(address[i] ^ mask[i]));
  return out;
}

std::expected<Reply, WireError> parse_reply(ByteView datagram) {
  if (!has_header(datagram)) return std::unexpected(WireError::BadMagic);
  if (message_type(datagram) != kBindingSuccess) return std::unexpected(WireError::BadValue);
  const std::size_t length = Reader(datagram.subspan(2)).u16();
  if (length > datagram.size() - kHeaderSize) return std::unexpected(WireError::Truncated);

  Reply reply;
  reply.id = id_of(datagram);
  std::optional<Endpoint> plain;
  std::optional<Endpoint> masked;
  Attributes attributes(datagram.subspan(kHeaderSize, length));
  while (auto attribute = attributes.next()) {
    if (attribute->type == kMappedAddress && !plain) plain = read_address(attribute->value, {});
    if (attribute->type == kXorMappedAddress || attribute->type == kXorMappedAddressMistake) {
      if (!masked) masked = read_address(attribute->value, address_mask(reply.id));
    }
  }
  if (!attributes.well_formed()) return std::unexpected(WireError::Truncated);
  // XORed wins: some NATs rewrite addresses they find in the clear.
  const auto mapped = masked ? masked : plain;
  if (!mapped) return std::unexpected(WireError::BadValue);
  reply.mapped = *mapped;
  return reply;
}

}  // namespace dh::wire::stun
