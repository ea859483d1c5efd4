#include "io/http_upgrade.hh"

#include "base/printable.hh"
#include "io/http_exchange.hh"
#include "io/proxy.hh"
#include "io/user_agent.hh"

namespace dh::io {
namespace {

constexpr std::size_t kFirstRead = 64 << 10;

std::string upgrade_request(const std::string& host, bool fast_start) {
  std::string request = "GET /derp HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: ";
  request.append(kAgent).append("\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n");
  if (fast_start) request += "Derp-Fast-Start: 1\r\n";
  return request + "\r\n";
}

std::string refusal(const std::string& who, const HttpResponseHead& head, const std::string& excerpt) {
  std::string text = who + " answered " + std::to_string(head.status) + " " + printable(head.reason);
  if (!excerpt.empty()) text += " (" + excerpt + ")";
  return text + " instead of speaking DERP: no relay, or a filter of this network in between";
}

}  // namespace

std::string host_header(std::string_view host, std::uint16_t port, bool tls) {
  std::string text = host_and_port(host, port);
  const std::string_view usual = tls ? ":443" : ":80";
  if (text.ends_with(usual)) text.resize(text.size() - usual.size());
  return text;
}

asio::awaitable<std::expected<Bytes, UpgradeError>> upgrade_to_derp(ByteStream& stream, std::string host,
                                                                    Bytes login) {
  const std::string who = printable(host);
  const bool fast_start = !login.empty();
  UpgradeError error;

  // One write: in fast start the login shares the request's TLS record.
  const std::string request = upgrade_request(host, fast_start);
  Bytes opening = to_bytes(as_bytes(request));
  opening.insert(opening.end(), login.begin(), login.end());
  if (const error_code ec = co_await stream.write(opening); ec) {
    error.message = who + " closed the connection (" + ec.message() + ")";
    co_return std::unexpected(std::move(error));
  }

  Bytes begun;
  if (fast_start) {
    // Frames follow at once. A relay that does not know fast start answers 101, which is as good; anything
    // else in HTTP is a refusal. One byte decides: no frame of the login begins with an H.
    Bytes buffer(kFirstRead);
    const auto [ec, size] = co_await stream.read_some(buffer);
    if (ec) {
      error.not_derp = true;
      error.message = who + " closed the connection instead of speaking DERP";
      co_return std::unexpected(std::move(error));
    }
    begun.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size));
    if (!may_be_http(begun)) co_return begun;
  }

  auto answer = co_await read_answer(stream, std::move(begun));
  if (!answer) {
    error.not_derp = true;
    error.message = answer.error() == AnswerFailure::Closed
                        ? who + " closed the connection instead of speaking DERP"
                        : who + " does not answer in HTTP: wrong port, or something in between";
    co_return std::unexpected(std::move(error));
  }
  if (answer->head.status == 101) co_return std::move(answer->rest);
  error.not_derp = true;
  const HttpResponseHead head = answer->head;  // a copy: the answer moves on
  const std::string excerpt = co_await read_excerpt(stream, std::move(*answer));
  error.message = refusal(who, head, excerpt);
  co_return std::unexpected(std::move(error));
}

}  // namespace dh::io
