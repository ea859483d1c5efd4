#include "wire/websocket.hh"

#include <algorithm>

#include "base/check.hh"
#include "crypto/hash.hh"

namespace dh {
namespace {

constexpr std::byte kFinal{0x80};
constexpr std::byte kReserved{0x70};
constexpr std::byte kMasked{0x80};
constexpr std::size_t kMaxControl = 125;

// Header bytes in total, from the second byte: 2, extended length, mask.
std::size_t header_bytes(std::byte second) {
  const auto length = static_cast<unsigned>(second & ~kMasked);
  return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + 4u;
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  const std::string joined = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::string text = to_base64url(sha1(as_bytes(joined)));
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  return text + "=";  // 20 bytes leave one padding character
}

void append_ws_frame(Bytes& out, WsOpcode opcode, ByteView payload) {
  Writer w(out);
  w.u8(static_cast<std::uint8_t>(0x80 | static_cast<unsigned>(opcode)));
  if (payload.size() < 126) {
    w.u8(static_cast<std::uint8_t>(payload.size()));
  } else if (payload.size() <= 0xffff) {
    w.u8(126);
    w.u16(static_cast<std::uint16_t>(payload.size()));
  } else {
    w.u8(127);
    w.u64(payload.size());
  }
  w.bytes(payload);
}

void append_ws_messages(Bytes& out, ByteView stream) {
  while (!stream.empty()) {
    const std::size_t size = std::min(stream.size(), kWsMessageBytes);
    append_ws_frame(out, WsOpcode::Binary, stream.first(size));
    stream = stream.subspan(size);
  }
}

void append_ws_close(Bytes& out, WsClose code) {
  const auto value = static_cast<unsigned>(code);
  const ByteArray<2> payload{static_cast<std::byte>(value >> 8), static_cast<std::byte>(value & 0xff)};
  append_ws_frame(out, WsOpcode::Close, payload);
}

WsItem WsDecoder::end(WsItem::Kind kind, WsClose code) {
  state_ = State::Ended;
  return {.kind = kind, .code = code};
}

// Collects the header; an item only when it breaks a rule.
std::optional<WsItem> WsDecoder::read_header(ByteSpan& bytes) {
  const std::size_t need = header_size_ < 2 ? 2 : header_bytes(header_[1]);
  const std::size_t size = std::min(need - header_size_, bytes.size());
  std::copy_n(bytes.begin(), size, header_.begin() + static_cast<std::ptrdiff_t>(header_size_));
  header_size_ += size;
  bytes = bytes.subspan(size);
  if (header_size_ < 2 || header_size_ < header_bytes(header_[1])) return std::nullopt;

  const auto opcode = static_cast<WsOpcode>(header_[0] & std::byte{0x0f});
  const bool final = (header_[0] & kFinal) != std::byte{0};
  const auto short_length = static_cast<unsigned>(header_[1] & ~kMasked);
  const auto violation = [&](WsClose code) { return end(WsItem::Kind::Violation, code); };
  if ((header_[0] & kReserved) != std::byte{0} || (header_[1] & kMasked) == std::byte{0})
    return violation(WsClose::ProtocolError);

  Reader r(ByteView(header_).subspan(2, header_size_ - 2));
  remaining_ = short_length == 126 ? r.u16() : short_length == 127 ? r.u64() : short_length;
  mask_ = r.array<4>();
  DCHECK(r.ok());
  mask_at_ = 0;
  if (remaining_ >> 63 != 0) return violation(WsClose::ProtocolError);
  control_ = false;
  switch (opcode) {
    case WsOpcode::Continuation:
      if (!in_message_) return violation(WsClose::ProtocolError);
      in_message_ = !final;
      break;
    case WsOpcode::Binary:
      if (in_message_) return violation(WsClose::ProtocolError);
      in_message_ = !final;
      break;
    case WsOpcode::Text:
      return violation(WsClose::NotBinary);
    case WsOpcode::Close:
    case WsOpcode::Ping:
    case WsOpcode::Pong:
      if (!final || remaining_ > kMaxControl) return violation(WsClose::ProtocolError);
      control_ = true;
      control_size_ = 0;
      break;
    default:
      return violation(WsClose::ProtocolError);
  }
  opcode_ = opcode;
  state_ = State::Payload;
  return std::nullopt;
}

std::optional<WsItem> WsDecoder::next(ByteSpan& bytes) {
  while (state_ != State::Ended) {
    if (state_ == State::Header) {
      if (bytes.empty()) return std::nullopt;
      if (auto item = read_header(bytes)) return item;
      continue;
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
    const ByteSpan piece = bytes.first(size);
    for (std::byte& b : piece) b ^= mask_[mask_at_++ & 3];
    bytes = bytes.subspan(size);
    remaining_ -= size;
    if (control_) {
      std::ranges::copy(piece, control_bytes_.begin() + static_cast<std::ptrdiff_t>(control_size_));
      control_size_ += size;
    }
    const bool whole = remaining_ == 0;
    if (whole) {
      state_ = State::Header;
      header_size_ = 0;
    }
    if (!control_) {
      if (!piece.empty()) return WsItem{.kind = WsItem::Kind::Data, .bytes = piece};
    } else if (whole && opcode_ == WsOpcode::Ping) {
      return WsItem{.kind = WsItem::Kind::Ping, .bytes = ByteView(control_bytes_).first(control_size_)};
    } else if (whole && opcode_ == WsOpcode::Close) {
      return end(WsItem::Kind::Close, WsClose::Normal);
    }
    if (!whole) return std::nullopt;
  }
  bytes = {};
  return std::nullopt;
}

}  // namespace dh
