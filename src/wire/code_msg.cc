#include "wire/code_msg.hh"

#include "base/overloaded.hh"
#include "wire/datagram.hh"

namespace dh::wire {
namespace {

constexpr std::size_t kTypeAt = kDiscoMagic.size() + 32;  // in the envelope

void write_envelope(Writer& out, std::uint8_t type, const PublicKey& sender, const CodeNonce& nonce) {
  out.bytes(kDiscoMagic);
  out.bytes(sender.bytes);
  out.u8(type);
  out.u8(kCodeVersion);
  out.bytes(nonce);
  out.zeros(CodeRing::kSize - kTypeAt - 2 - nonce.size());
}

template <class Message>
Message read_envelope(Reader& in) {
  Message message;
  in.skip(kDiscoMagic.size());
  message.sender.bytes = in.array<32>();
  in.skip(2);
  message.nonce = in.array<16>();
  return message;
}

std::optional<WireError> check(ByteView packet, std::size_t size, std::uint8_t version) {
  if (packet.size() < size) return WireError::Truncated;
  if (packet.size() > size) return WireError::TooLong;
  if (version != kCodeVersion) return WireError::BadValue;
  return std::nullopt;
}

std::expected<CodeMsg, WireError> parse_enveloped(ByteView packet) {
  if (packet.size() < CodeRing::kSize) return std::unexpected(WireError::Truncated);
  const auto type = static_cast<std::uint8_t>(packet[kTypeAt]);
  if (type != CodeRing::kType && type != CodeHello::kType) return std::unexpected(WireError::BadMagic);
  if (const auto error = check(packet, CodeRing::kSize, static_cast<std::uint8_t>(packet[kTypeAt + 1])))
    return std::unexpected(*error);
  for (const std::byte zero : packet.last(8))
    if (zero != std::byte{0}) return std::unexpected(WireError::BadValue);
  Reader in(packet);
  if (type == CodeRing::kType) return read_envelope<CodeRing>(in);
  return read_envelope<CodeHello>(in);
}

CodeCookie read_cookie(Reader& in) {
  CodeCookie message;
  message.receiver_nonce = in.array<16>();
  message.sender_nonce = in.array<16>();
  message.cookie = in.array<16>();
  return message;
}

CodeShareR read_share_r(Reader& in) {
  CodeShareR message;
  message.capabilities = in.u32();
  message.receiver_nonce = in.array<16>();
  message.sender_nonce = in.array<16>();
  message.cookie = in.array<16>();
  message.point = in.array<32>();
  return message;
}

CodeShareS read_share_s(Reader& in) {
  CodeShareS message;
  message.capabilities = in.u32();
  message.sender_nonce = in.array<16>();
  message.point = in.array<32>();
  return message;
}

CodeProof read_proof(Reader& in) {
  CodeProof message;
  message.sender_nonce = in.array<16>();
  message.tag = in.array<64>();
  return message;
}

std::expected<CodeMsg, WireError> read_gift(Reader& in) {
  CodeGift message;
  message.sender_nonce = in.array<16>();
  message.tag = in.array<64>();
  message.sealed = to_bytes(in.rest());
  if (message.sealed.size() < 16) return std::unexpected(WireError::Truncated);
  if (message.sealed.size() > CodeGift::kMaxSealed) return std::unexpected(WireError::TooLong);
  return message;
}

std::expected<CodeMsg, WireError> read_refusal(Reader& in) {
  CodeRefusal message;
  message.sender_nonce = in.array<16>();
  const std::uint8_t reason = in.u8();
  if (reason < 1 || reason > 3) return std::unexpected(WireError::BadValue);
  message.reason = static_cast<CodeRefusal::Reason>(reason);
  return message;
}

// 0: a size of its own. nullopt: no type of ours.
std::optional<std::size_t> size_of(std::uint8_t type) {
  switch (type) {
    case CodeCookie::kType:
      return CodeCookie::kSize;
    case CodeShareR::kType:
      return CodeShareR::kSize;
    case CodeShareS::kType:
      return CodeShareS::kSize;
    case CodeProof::kType:
      return CodeProof::kSize;
    case CodeGift::kType:
      return 0;
    case CodeRefusal::kType:
      return CodeRefusal::kSize;
    default:
      return std::nullopt;
  }
}

}  // namespace

Bytes serialize(const CodeMsg& message) {
  Bytes bytes;
  Writer out(bytes);
  const auto head = [&out](std::uint8_t type) {
    out.u8(type);
    out.u8(kCodeVersion);
  };
  std::visit(Overloaded{[&](const CodeRing& m) { write_envelope(out, m.kType, m.sender, m.nonce); },
                        [&](const CodeHello& m) { write_envelope(out, m.kType, m.sender, m.nonce); },
                        [&](const CodeCookie& m) {
                          head(m.kType);
                          out.bytes(m.receiver_nonce);
                          out.bytes(m.sender_nonce);
                          out.bytes(m.cookie);
                        },
                        [&](const CodeShareR& m) {
                          head(m.kType);
                          out.u32(m.capabilities);
                          out.bytes(m.receiver_nonce);
                          out.bytes(m.sender_nonce);
                          out.bytes(m.cookie);
                          out.bytes(m.point);
                        },
                        [&](const CodeShareS& m) {
                          head(m.kType);
                          out.u32(m.capabilities);
                          out.bytes(m.sender_nonce);
                          out.bytes(m.point);
                        },
                        [&](const CodeProof& m) {
                          head(m.kType);
                          out.bytes(m.sender_nonce);
                          out.bytes(m.tag);
                        },
                        [&](const CodeGift& m) {
                          head(m.kType);
                          out.bytes(m.sender_nonce);
                          out.bytes(m.tag);
                          out.bytes(m.sealed);
                        },
                        [&](const CodeRefusal& m) {
                          head(m.kType);
                          out.bytes(m.sender_nonce);
                          out.u8(static_cast<std::uint8_t>(m.reason));
                        }},
             message);
  return bytes;
}

std::expected<CodeMsg, WireError> parse_code_msg(ByteView packet) {
  if (packet.size() >= kDiscoMagic.size() && equal_bytes(packet.first(kDiscoMagic.size()), kDiscoMagic))
    return parse_enveloped(packet);
  Reader in(packet);
  const std::uint8_t type = in.u8();
  const auto size = size_of(type);
  if (!size) return std::unexpected(WireError::BadMagic);
  const std::uint8_t version = in.u8();
  if (*size == 0) {
    if (packet.size() < CodeGift::kHeadSize) return std::unexpected(WireError::Truncated);
    if (version != kCodeVersion) return std::unexpected(WireError::BadValue);
    return read_gift(in);
  }
  if (const auto error = check(packet, *size, version)) return std::unexpected(*error);
  switch (type) {
    case CodeCookie::kType:
      return read_cookie(in);
    case CodeShareR::kType:
      return read_share_r(in);
    case CodeShareS::kType:
      return read_share_s(in);
    case CodeProof::kType:
      return read_proof(in);
    default:
      return read_refusal(in);
  }
}

}  // namespace dh::wire
