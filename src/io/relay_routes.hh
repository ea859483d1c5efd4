#pragma once

// What the relay answers to an HTTP request. Pure. docs/protocol/relay-server.md §2.

#include <string>
#include <string_view>

#include "crypto/keys.hh"
#include "wire/http_head.hh"

namespace dh::io {

enum class Upgrade : std::uint8_t {
  None,       // an ordinary answer
  Derp,       // 101, then DERP frames
  FastDerp,   // no answer at all, DERP frames at once
  WebSocket,  // 101 of RFC 6455, then DERP frames in binary messages
};

struct RouteAnswer {
  Upgrade upgrade = Upgrade::None;
  std::string response{};  // complete bytes; empty for FastDerp
  bool keep_open = false;
};

/// `last`: the connection has used up its requests.
RouteAnswer route_relay(const HttpRequestHead& request, const PublicKey& server_key, bool last);

/// GET /metrics and nothing else; `page` is the text for it.
RouteAnswer route_metrics(const HttpRequestHead& request, std::string_view page, bool last);

/// For a head that could not be read: 400, or 431 when it is too long. Always closes.
std::string refuse_head(HttpError error);

}  // namespace dh::io
