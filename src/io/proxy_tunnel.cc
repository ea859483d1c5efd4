// The wire part of io/proxy.hh: HTTP CONNECT (RFC 9110 §9.3.6).

#include <array>

#include <sodium.h>

#include "base/printable.hh"
#include "io/http_exchange.hh"
#include "io/proxy.hh"
#include "io/user_agent.hh"

namespace dh::io {
namespace {

std::string base64(std::string_view text) {
  std::string out(sodium_base64_ENCODED_LEN(text.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();  // its terminating zero
  return out;
}

std::string connect_request(const ProxyUrl& proxy, const std::string& target) {
  std::string request = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nUser-Agent: ";
  request.append(kAgent).append("\r\n");
  if (proxy.credentials) request += "Proxy-Authorization: Basic " + base64(*proxy.credentials) + "\r\n";
  return request + "\r\n";
}

std::string refusal(const ProxyUrl& proxy, const std::string& target, const HttpResponseHead& head,
                    const std::string& excerpt) {
  const std::string who = "the proxy " + printable(proxy.where());
  if (head.status == 407) {
    if (proxy.credentials)
      return who +
             " did not accept the user name and password in HTTPS_PROXY (407); only Basic logins are "
             "supported";
    return who + " wants a login (407): set HTTPS_PROXY to http://user:password@host:port";
  }
  std::string text = who + " refused to connect to " + printable(target) + ": " +
                     std::to_string(head.status) + " " + printable(head.reason);
  if (!excerpt.empty()) text += " (" + excerpt + ")";
  return text + "; ask its operator, or list the relay in NO_PROXY to go around it";
}

}  // namespace

asio::awaitable<std::expected<void, DialError>> open_tunnel(ByteStream& stream, const ProxyUrl& proxy,
                                                            std::string host, std::uint16_t port) {
  const std::string target = host_and_port(host, port);
  const std::string who = "the proxy " + printable(proxy.where());
  const std::string request = connect_request(proxy, target);
  DialError error;
  if (const error_code ec = co_await stream.write(as_bytes(request)); ec) {
    error.message = who + " closed the connection (" + ec.message() + ")";
    co_return std::unexpected(std::move(error));
  }
  Bytes none;
  auto answer = co_await read_answer(stream, std::move(none));
  if (!answer) {
    error.message = answer.error() == AnswerFailure::Closed
                        ? who + " closed the connection without an answer"
                        : who + " did not answer in HTTP: HTTPS_PROXY may name something else";
    co_return std::unexpected(std::move(error));
  }
  const HttpResponseHead head = answer->head;  // a copy: the answer moves on below
  if (head.status >= 200 && head.status < 300) {
    if (answer->rest.empty()) co_return std::expected<void, DialError>();
    error.message = who + " sent a page instead of opening a tunnel";
    co_return std::unexpected(std::move(error));
  }
  const std::string excerpt = co_await read_excerpt(stream, std::move(*answer));
  error.message = refusal(proxy, target, head, excerpt);
  co_return std::unexpected(std::move(error));
}

}  // namespace dh::io
