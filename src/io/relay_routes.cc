#include "io/relay_routes.hh"

#include <algorithm>

#include <fmt/format.h>

#include "wire/websocket.hh"

namespace dh::io {
namespace {

constexpr std::string_view kHomePage =
    "This is a DERP relay. Programs reach it at /derp; there is nothing here for a browser.\n";
constexpr std::string_view kNoStore = "no-cache, no-store, must-revalidate, no-transform, max-age=0";

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Error";
  }
}

struct Page {
  int status = 200;
  std::string_view headers{};  // whole lines
  std::string_view body{};
  std::string_view type = "text/plain; charset=utf-8";
};

// `head_only`: answer to HEAD, the body's length without the body.
std::string render(const Page& page, bool keep_open, bool head_only) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n{}", page.status, reason_of(page.status), page.headers);
  if (page.status != 204) text += fmt::format("Content-Length: {}\r\n", page.body.size());
  if (!page.body.empty()) text += fmt::format("Content-Type: {}\r\n", page.type);
  if (!keep_open) text += "Connection: close\r\n";
  text += "\r\n";
  if (!head_only) text += page.body;
  return text;
}

RouteAnswer answer(const HttpRequestHead& request, const Page& page, bool last) {
  // A body would be taken for the next request, so its connection ends here.
  const bool keep_open = !last && request.keep_alive() && !request.has_body();
  return {.response = render(page, keep_open, request.method == "HEAD"), .keep_open = keep_open};
}

bool is_read(const HttpRequestHead& request) {
  return request.method == "GET" || request.method == "HEAD";
}

// Captive portal probes: only short, harmless text is echoed, so the answer cannot carry anything else.
bool is_echoable(std::string_view challenge) {
  return !challenge.empty() && challenge.size() <= 64 && std::ranges::all_of(challenge, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == ':' || c == '_' || c == '-';
  });
}

RouteAnswer websocket_answer(const HttpRequestHead& request) {
  const auto key = request.headers.find("Sec-WebSocket-Key");
  const auto version = request.headers.find("Sec-WebSocket-Version");
  if (!version || *version != "13")
    return answer(request, {.status = 426, .headers = "Sec-WebSocket-Version: 13\r\n"}, true);
  // 16 bytes in base64 (RFC 6455 §4.1).
  if (request.method != "GET" || !key || key->size() != 24 || !key->ends_with("=="))
    return answer(request, {.status = 400, .body = "Bad WebSocket request\n"}, true);
  return {.upgrade = Upgrade::WebSocket,
          .response =
              fmt::format("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: derp\r\n\r\n",
                          websocket_accept(*key))};
}

RouteAnswer derp_answer(const HttpRequestHead& request, const PublicKey& server_key) {
  const bool websocket = request.headers.has_token("Upgrade", "websocket");
  if (!websocket && !request.headers.has_token("Upgrade", "derp"))
    return answer(
        request,
        {.status = 426, .headers = "Upgrade: DERP\r\n", .body = "DERP requires connection upgrade\n"}, true);
  if (request.has_body()) return answer(request, {.status = 400}, true);
  if (websocket && request.headers.has_token("Sec-WebSocket-Protocol", "derp"))
    return websocket_answer(request);
  // Old clients say `websocket` without the subprotocol and then speak bare DERP.
  if (request.headers.find("Derp-Fast-Start") == "1") return {.upgrade = Upgrade::FastDerp};
  return {
      .upgrade = Upgrade::Derp,
      .response = fmt::format("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n"
                              "Derp-Version: 2\r\nDerp-Public-Key: {}\r\n\r\n",
                              server_key.to_hex())};
}

}  // namespace

RouteAnswer route_relay(const HttpRequestHead& request, const PublicKey& server_key, bool last) {
  if (request.minor_version == 1 && !request.headers.find("Host"))
    return answer(request, {.status = 400, .body = "Missing Host header\n"}, true);
  const std::string_view path = request.path();
  if (path == "/derp") return derp_answer(request, server_key);
  if (request.headers.find("Upgrade") && request.headers.has_token("Upgrade", "derp"))
    return answer(request, {.status = 404, .body = "DERP is at /derp\n"}, true);
  if (path == "/derp/probe" || path == "/derp/latency-check") {
    if (!is_read(request)) return answer(request, {.status = 405, .headers = "Allow: GET, HEAD\r\n"}, last);
    return answer(request, {.headers = "Access-Control-Allow-Origin: *\r\n"}, last);
  }
  if (path == "/generate_204") {
    std::string headers = fmt::format("Cache-Control: {}\r\n", kNoStore);
    const auto challenge = request.headers.find("X-Tailscale-Challenge");
    if (challenge && is_echoable(*challenge))
      headers += fmt::format("X-Tailscale-Response: response {}\r\n", *challenge);
    return answer(request, {.status = 204, .headers = headers}, last);
  }
  if (!is_read(request)) return answer(request, {.status = 405, .headers = "Allow: GET, HEAD\r\n"}, last);
  if (path == "/robots.txt") return answer(request, {.body = "User-agent: *\nDisallow: /\n"}, last);
  if (path == "/") return answer(request, {.body = kHomePage}, last);
  return answer(request, {.status = 404, .body = "Not found\n"}, last);
}

RouteAnswer route_metrics(const HttpRequestHead& request, std::string_view page, bool last) {
  if (!is_read(request)) return answer(request, {.status = 405, .headers = "Allow: GET, HEAD\r\n"}, last);
  if (request.path() != "/metrics") return answer(request, {.status = 404, .body = "See /metrics\n"}, last);
  return answer(request, {.body = page, .type = "text/plain; version=0.0.4; charset=utf-8"}, last);
}

std::string refuse_head(HttpError error) {
  const bool too_long = error == HttpError::TooLong || error == HttpError::TooManyHeaders;
  return render({.status = too_long ? 431 : 400}, false, false);
}

}  // namespace dh::io
