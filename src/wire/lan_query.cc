#include "wire/lan_query.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::wire {
namespace {

constexpr std::string_view kMagic = "dxln";
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kQuestion = 1, kAnswer = 2;

std::optional<WireError> check_head(Reader& in, ByteView packet, std::uint8_t type, std::size_t size) {
  if (packet.size() < size) return WireError::Truncated;
  if (packet.size() > size) return WireError::TooLong;
  if (as_text(in.bytes(kMagic.size())) != kMagic || in.u8() != type) return WireError::BadMagic;
  if (in.u8() != kVersion) return WireError::BadValue;
  return std::nullopt;
}

}  // namespace

Bytes LanQuestion::serialize() const {
  CHECK(!tags.empty() && tags.size() <= kMaxTags);
  Bytes bytes;
  Writer out(bytes);
  out.text(kMagic);
  out.u8(kQuestion);
  out.u8(kVersion);
  out.bytes(nonce);
  out.u8(static_cast<std::uint8_t>(tags.size()));
  for (const LanTag& tag : tags) out.bytes(tag);
  out.zeros(kSize - bytes.size());
  return bytes;
}

std::expected<LanQuestion, WireError> LanQuestion::parse(ByteView packet) {
  Reader in(packet);
  if (const auto error = check_head(in, packet, kQuestion, kSize)) return std::unexpected(*error);
  LanQuestion question;
  question.nonce = in.array<16>();
  const std::size_t count = in.u8();
  if (count == 0 || count > kMaxTags) return std::unexpected(WireError::BadValue);
  for (std::size_t i = 0; i < count; ++i) question.tags.push_back(in.array<16>());
  const ByteView padding = in.rest();
  if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; }))
    return std::unexpected(WireError::BadValue);
  return question;
}

Bytes LanAnswer::serialize() const {
  Bytes bytes;
  Writer out(bytes);
  out.text(kMagic);
  out.u8(kAnswer);
  out.u8(kVersion);
  out.bytes(nonce);
  out.bytes(salt);
  out.bytes(sealed);
  CHECK(bytes.size() == kSize);
  return bytes;
}

std::expected<LanAnswer, WireError> LanAnswer::parse(ByteView packet) {
  Reader in(packet);
  if (const auto error = check_head(in, packet, kAnswer, kSize)) return std::unexpected(*error);
  LanAnswer answer;
  answer.nonce = in.array<16>();
  answer.salt = in.array<8>();
  answer.sealed = in.array<kSealedSize>();
  return answer;
}

}  // namespace dh::wire
