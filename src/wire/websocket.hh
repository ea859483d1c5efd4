#pragma once

// The server's half of RFC 6455 as a byte codec, for carrying a DERP stream: binary messages whose boundaries
// mean nothing, no extensions. docs/protocol/relay-server.md §4.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hh"

namespace dh {

/// The Sec-WebSocket-Accept value for a client's Sec-WebSocket-Key (RFC 6455 §4.2.2).
std::string websocket_accept(std::string_view key);

enum class WsOpcode : std::uint8_t { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 };

/// Close codes we send (RFC 6455 §7.4.1).
enum class WsClose : std::uint16_t { Normal = 1000, ProtocolError = 1002, NotBinary = 1003, Internal = 1011 };

/// Appends one whole unmasked frame; `payload` at most 125 bytes for control opcodes.
void append_ws_frame(Bytes& out, WsOpcode opcode, ByteView payload);
/// Appends `stream` as binary messages of at most kWsMessageBytes.
void append_ws_messages(Bytes& out, ByteView stream);
void append_ws_close(Bytes& out, WsClose code);
// 32 KiB: the default read limit of the library behind Go clients; larger messages end their connection.
constexpr std::size_t kWsMessageBytes = 32u << 10;

/// What the decoder found next.
struct WsItem {
  enum class Kind : std::uint8_t {
    Data,       // `bytes` are stream bytes, some part of a binary message
    Ping,       // answer with a Pong of `bytes`
    Close,      // the peer closes: answer with Close and end
    Violation,  // the peer broke RFC 6455 or sent text: send Close(code) and end; the decoder is dead
  };
  Kind kind = Kind::Data;
  ByteView bytes{};
  WsClose code = WsClose::Normal;
};

/// Unpacks what a client sends. Pure. After Close or Violation every call yields nothing.
class WsDecoder {
public:
  /// Takes from the front of `bytes` (unmasking in place) up to the next item; nullopt: all of it is taken
  /// and there is nothing to tell. An item's bytes live as long as the input or, for Ping, until the next
  /// call.
  std::optional<WsItem> next(ByteSpan& bytes);

private:
  // Header --complete--> Payload --frame ends--> Header;  any --close, violation--> Ended
  enum class State : std::uint8_t {
    Header,   // header_ holds its first header_size_ bytes
    Payload,  // remaining_ payload bytes are to come
    Ended,    // nothing is read any more
  };
  std::optional<WsItem> read_header(ByteSpan& bytes);
  WsItem end(WsItem::Kind kind, WsClose code);

  State state_ = State::Header;
  ByteArray<14> header_{};
  std::size_t header_size_ = 0;
  std::uint64_t remaining_ = 0;
  ByteArray<4> mask_{};
  std::size_t mask_at_ = 0;
  WsOpcode opcode_ = WsOpcode::Binary;  // of the frame at hand, Continuation resolved
  bool in_message_ = false;             // a fragmented binary message is open
  bool control_ = false;
  ByteArray<125> control_bytes_{};
  std::size_t control_size_ = 0;
};

}  // namespace dh
