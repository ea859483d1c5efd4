#include "derp/tailnode_stun.hh"

namespace dh::derp {
namespace {

constexpr std::uint32_t kCookie = 0x2112a442;
constexpr std::uint32_t kFingerprintXor = 0x5354554e;  // RFC 8489 §14.7
constexpr std::uint16_t kBindingRequest = 0x0001;
constexpr std::uint16_t kBindingSuccess = 0x0101;
constexpr std::uint16_t kSoftware = 0x8022;
constexpr std::uint16_t kFingerprint = 0x8028;

}  // namespace

Bytes make_tailnode_request(const ByteArray<12>& transaction) {
  Bytes out;
  Writer w(out);
  w.u16(kBindingRequest);
  w.u16(20);  // what follows the header, FINGERPRINT included
  w.u32(kCookie);
  w.bytes(transaction);
  w.u16(kSoftware);
  w.u16(8);
  w.text("tailnode");
  const std::uint32_t fingerprint = crc32(out) ^ kFingerprintXor;
  w.u16(kFingerprint);
  w.u16(4);
  w.u32(fingerprint);
  return out;
}

std::optional<ByteArray<12>> stun_answer_id(ByteView datagram) {
  Reader r(datagram);
  const std::uint16_t type = r.u16();
  const std::uint16_t length = r.u16();
  const std::uint32_t cookie = r.u32();
  const auto transaction = r.array<12>();
  if (!r.ok() || type != kBindingSuccess || cookie != kCookie || length > r.remaining()) return std::nullopt;
  return transaction;
}

}  // namespace dh::derp
