#include "io/http_get.hh"

#include <algorithm>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/printable.hh"
#include "base/web_url.hh"
#include "io/clock.hh"
#include "io/stream_deadline.hh"
#include "io/user_agent.hh"

namespace dh::io {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

constexpr std::uint32_t kMaxHeader = 16u << 10;  // a status line and headers; servers send under 4 KiB
constexpr std::size_t kMaxEtag = 256;            // ours to store and send back; real ones are under 100
constexpr std::size_t kReadSize = 16u << 10;     // one TLS record

bool is_etag(std::string_view text) {
  return !text.empty() && text.size() <= kMaxEtag &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_redirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string request_text(const WebUrl& url, const std::string& etag) {
  std::string text = "GET " + url.target + " HTTP/1.1\r\nHost: " + url.authority() +
                     "\r\nUser-Agent: " + std::string(kAgent) +
                     "\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\n";
  if (is_etag(etag)) text += "If-None-Match: " + etag + "\r\n";
  return text + "\r\n";
}

// Reads until the parser has the whole message. Empty when it does, else what happened.
asio::awaitable<std::string> read_response(ByteStream& stream, Parser& parser, std::size_t max_body) {
  boost::beast::flat_buffer buffer;
  while (!parser.is_done()) {
    const auto space = buffer.prepare(kReadSize);
    const ByteSpan into(static_cast<std::byte*>(space.data()), space.size());
    const auto [error, size] = co_await stream.read_some(into);
    boost::system::error_code bad;
    if (error == asio::error::eof) {
      if (parser.got_some()) parser.put_eof(bad);
      if (bad || !parser.is_done()) co_return "the connection was closed before the answer was complete";
      break;
    }
    if (error) co_return "the connection broke (" + error.message() + ")";
    buffer.commit(size);
    const std::size_t used = parser.put(buffer.data(), bad);
    buffer.consume(used);
    if (bad == http::error::body_limit)
      co_return "the answer is larger than " + std::to_string(max_body) + " bytes";
    if (bad && bad != http::error::need_more) co_return "the answer is not HTTP (" + bad.message() + ")";
  }
  co_return "";
}

struct RawAnswer {
  HttpResponse response;
  std::string location;
};

std::unexpected<std::string> failed(const WebUrl& url, const std::string& why) {
  return std::unexpected("could not fetch " + printable(url.to_string()) + ": " + why);
}

asio::awaitable<std::expected<RawAnswer, std::string>> get_once(WebUrl url, std::string etag,
                                                                std::size_t max_body, DialOptions options) {
  const Instant deadline_at = now() + options.timeout;
  DialTarget target;
  target.host = url.host;
  target.port = url.port;
  target.tls = url.tls;
  auto dialed = co_await dial(std::move(target), options);
  if (!dialed) co_return failed(url, dialed.error().message);

  const auto executor = co_await asio::this_coro::executor;
  ByteStream& stream = *dialed->stream;
  const StreamDeadline deadline(executor, deadline_at, [&stream] { stream.close(); });
  const std::string request = request_text(url, etag);
  const auto write_error = co_await stream.write(as_bytes(request));
  Parser parser;
  parser.header_limit(kMaxHeader);
  parser.body_limit(max_body);
  parser.eager(true);
  std::string why;
  if (write_error) {
    why = "the connection broke (" + write_error.message() + ")";
  } else {
    why = co_await read_response(stream, parser, max_body);
  }
  stream.close();
  if (deadline.expired()) why = "no complete answer in time";
  if (!why.empty()) co_return failed(url, why);

  auto message = parser.release();
  RawAnswer answer;
  answer.response.status = message.result_int();
  answer.response.body = std::move(message.body());
  answer.response.url = url.to_string();
  const std::string_view new_etag = message[http::field::etag];
  if (is_etag(new_etag)) answer.response.etag = new_etag;
  answer.location = message[http::field::location];
  co_return answer;
}

}  // namespace

asio::awaitable<std::expected<HttpResponse, std::string>> http_get(HttpGetRequest request,
                                                                   DialOptions options) {
  const Instant deadline_at = now() + options.timeout;
  auto url = WebUrl::parse(request.url);
  if (!url) co_return std::unexpected("the URL \"" + printable(request.url) + "\" " + url.error());
  for (int hops = 0;; ++hops) {
    options.timeout = deadline_at - now();
    if (options.timeout <= Duration::zero()) co_return failed(*url, "no complete answer in time");
    auto answer = co_await get_once(*url, request.if_none_match, request.max_body, options);
    if (!answer) co_return std::unexpected(std::move(answer.error()));
    if (!is_redirect(answer->response.status) || answer->location.empty())
      co_return std::move(answer->response);
    if (hops >= request.max_redirects) co_return failed(*url, "redirected too often");
    auto next = url->resolve(answer->location);
    if (!next) co_return failed(*url, "redirected to a place that " + next.error());
    // Whoever controls an unprotected hop could replace the answer; only this machine is trusted with that.
    if (!next->tls && (url->tls || !next->is_loopback()))
      co_return failed(*url, "redirected to unprotected http");
    url = std::move(next);
  }
}

}  // namespace dh::io
