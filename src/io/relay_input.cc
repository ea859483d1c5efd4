// What RelayEngine does with the bytes of a stream, TLS removed: request heads, WebSocket messages, DERP
// frames.

#include "io/relay_engine.hh"
#include "io/relay_limits.hh"
#include "io/relay_metrics.hh"
#include "io/relay_routes.hh"

namespace dh::io {
void RelayEngine::on_stream(RelayConnection& connection, ByteSpan bytes, Instant now) {
  if (connection.linger_after_flush) return;
  switch (connection.stage) {
    case ConnectionStage::Head:
      connection.head.insert(connection.head.end(), bytes.begin(), bytes.end());
      return serve_heads(connection, now);
    case ConnectionStage::Derp:
      return feed_core(connection, bytes, now);
    case ConnectionStage::WebSocket:
      return on_websocket(connection, bytes, now);
    case ConnectionStage::Lingering:
      return;
  }
}

// Answers the complete request heads in connection.head; stops at an upgrade and while an answer cannot
// leave.
void RelayEngine::serve_heads(RelayConnection& connection, Instant now) {
  const HttpLimits limits{.head_bytes = options_.limits.header_bytes};
  while (!connection.gone && !connection.linger_after_flush && !connection.blocked) {
    Bytes& head = connection.head;
    const auto size = http_head_size(head, connection.head_searched);
    connection.head_searched = head.size();
    if (!size && head.size() < limits.head_bytes) return;
    const auto request =
        size ? parse_http_request(ByteView(head).first(*size), limits) : std::unexpected(HttpError::TooLong);
    connection.head_searched = 0;
    if (!request) {
      ++shell_.bad_requests;
      connection.queue_text(refuse_head(request.error()));
      return end_gently(connection, WsClose::ProtocolError, now);
    }
    ++shell_.http_requests;
    const bool last = ++connection.requests >= options_.limits.requests_per_connection || draining_;
    const RouteAnswer answer =
        connection.metrics ? route_metrics(*request, relay_metrics_page(core_.counters(), shell_), last)
                           : route_relay(*request, core_.public_key(), last);
    connection.queue_text(answer.response);
    mark_dirty(connection);
    if (answer.upgrade != Upgrade::None) {
      const Bytes whole = std::exchange(head, {});
      return upgrade(connection, answer.upgrade, ByteView(whole).subspan(*size), now);
    }
    if (!answer.keep_open) return end_gently(connection, WsClose::Normal, now);
    head.erase(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(*size));
    set_deadline(connection, now + options_.limits.header_deadline);
    flush(connection, now);  // so that pipelined requests cannot pile answers up
  }
}

void RelayEngine::upgrade(RelayConnection& connection, Upgrade kind, ByteView behind_head, Instant now) {
  if (kind == Upgrade::FastDerp) ++shell_.fast_starts;
  connection.stage = ConnectionStage::Derp;
  if (kind == Upgrade::WebSocket) {
    ++shell_.websockets;
    connection.websocket = std::make_unique<WsDecoder>();
    connection.stage = ConnectionStage::WebSocket;
  }
  set_deadline(connection, std::nullopt);  // the core has its own for the login
  connection.in_core = true;
  core_.on_connect(connection.id, connection.peer, now);
  collect(now);
  if (behind_head.empty() || connection.gone) return;
  Bytes rest = to_bytes(behind_head);
  on_stream(connection, rest, now);
}

void RelayEngine::on_websocket(RelayConnection& connection, ByteSpan bytes, Instant now) {
  while (!connection.gone && !connection.linger_after_flush) {
    const auto item = connection.websocket->next(bytes);
    if (!item) return;
    switch (item->kind) {
      case WsItem::Kind::Data:
        feed_core(connection, item->bytes, now);
        break;
      case WsItem::Kind::Ping:
        append_ws_frame(connection.plain(), WsOpcode::Pong, item->bytes);
        mark_dirty(connection);
        // A peer that pings and never reads.
        if (connection.output_bytes() > kMaxOutputBytes) return close(connection, now);
        break;
      case WsItem::Kind::Close:
        return end_gently(connection, WsClose::Normal, now);
      case WsItem::Kind::Violation:
        ++shell_.websocket_errors;
        return end_gently(connection, item->code, now);
    }
  }
}

void RelayEngine::feed_core(RelayConnection& connection, ByteView bytes, Instant now) {
  while (!bytes.empty() && connection.in_core) {
    const ByteView slice = bytes.first(std::min(bytes.size(), kSliceBytes));
    bytes = bytes.subspan(slice.size());
    core_.on_bytes(connection.id, slice, now);
    collect(now);
  }
}

}  // namespace dh::io
