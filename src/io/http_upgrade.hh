#pragma once

#include "io/dial.hh"

namespace dh::io {

/// How DERP frames travel after the HTTP request.
///   FastStart: request and login leave together, the relay leaves its 101 out. Needs the meta key.
///   Upgrade:   `Upgrade: DERP`, 101, then frames.
///   WebSocket: RFC 6455 with subprotocol `derp`, for networks whose middleboxes know only that.
enum class DerpTransport : std::uint8_t { FastStart, Upgrade, WebSocket };

struct UpgradeError {
  std::string message;
  bool not_derp = false;  // an HTTP answer or garbage came back: WebSocket may get through where this did not
};

/// Sends the request with `login` behind it (FastStart) or alone (empty login). On success returns the bytes
/// that came after the answer's blank line: the beginning of the frame stream.
asio::awaitable<std::expected<Bytes, UpgradeError>> upgrade_to_derp(ByteStream& stream, std::string host,
                                                                    Bytes login);

/// The WebSocket way. The result reads and writes the concatenation of the binary messages.
asio::awaitable<std::expected<std::unique_ptr<ByteStream>, UpgradeError>> upgrade_to_websocket(
    std::unique_ptr<ByteStream> stream, std::string host);

/// The value of Host: without the port where it is the scheme's own.
std::string host_header(std::string_view host, std::uint16_t port, bool tls);

}  // namespace dh::io
