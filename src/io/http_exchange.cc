#include "io/http_exchange.hh"

#include <algorithm>
#include <charconv>

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/stream_deadline.hh"

namespace dh::io {
namespace {

constexpr std::string_view kVersionPrefix = "HTTP/1.";
constexpr std::size_t kReadSize = 16 << 10;
constexpr std::size_t kMaxBody = 4 << 10;  // bytes read for an excerpt: pages put their point first
constexpr std::size_t kMaxExcerpt = 160;   // bytes shown: one line of a terminal or two
constexpr int kMaxInterim = 4;             // 1xx answers before the real one
constexpr Duration kExcerptPatience = 1s;

std::size_t body_size(const HttpResponseHead& head) {
  const auto text = head.headers.find("content-length");
  if (!text) return kMaxBody;
  std::size_t size = 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), size);
  if (ec != std::errc() || end != text->data() + text->size()) return kMaxBody;
  return std::min(size, kMaxBody);
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::ptrdiff_t distance_of(std::size_t size) {
  return static_cast<std::ptrdiff_t>(size);
}

}  // namespace

bool may_be_http(ByteView first) {
  const std::string_view text = as_text(first.first(std::min(first.size(), kVersionPrefix.size())));
  return kVersionPrefix.starts_with(text);
}

asio::awaitable<std::expected<HttpAnswer, AnswerFailure>> read_answer(ByteStream& stream, Bytes begun) {
  const HttpLimits limits;
  Bytes pending = std::move(begun);
  Bytes buffer(kReadSize);
  for (int answers = 0; answers <= kMaxInterim; ++answers) {
    std::size_t searched = 0;
    std::optional<std::size_t> end;
    while (!(end = http_head_size(pending, searched))) {
      if (!may_be_http(pending) || pending.size() > limits.head_bytes)
        co_return std::unexpected(AnswerFailure::NotHttp);
      searched = pending.size();
      const auto [ec, size] = co_await stream.read_some(buffer);
      if (ec) co_return std::unexpected(AnswerFailure::Closed);
      pending.insert(pending.end(), buffer.begin(), buffer.begin() + distance_of(size));
    }
    auto head = parse_http_response(ByteView(pending).first(*end), limits);
    if (!head) co_return std::unexpected(AnswerFailure::NotHttp);
    pending.erase(pending.begin(), pending.begin() + distance_of(*end));
    if (head->status >= 200 || head->status == 101) {
      HttpAnswer answer{std::move(*head), std::move(pending)};
      co_return answer;
    }
  }
  co_return std::unexpected(AnswerFailure::NotHttp);
}

asio::awaitable<std::string> read_excerpt(ByteStream& stream, HttpAnswer answer) {
  const auto executor = co_await asio::this_coro::executor;
  const StreamDeadline patience(executor, now() + kExcerptPatience, [&stream] { stream.close(); });
  const std::size_t wanted = body_size(answer.head);
  Bytes body = std::move(answer.rest);
  Bytes buffer(kMaxBody);
  while (body.size() < wanted) {
    const auto [ec, size] = co_await stream.read_some(buffer);
    if (ec) break;
    body.insert(body.end(), buffer.begin(), buffer.begin() + distance_of(size));
  }
  co_return body_excerpt(as_text(body));
}

std::string body_excerpt(std::string_view body) {
  std::string words;
  const auto space = [&words] {
    if (!words.empty() && words.back() != ' ') words += ' ';
  };
  const auto skip_past = [&body](std::string_view end) {
    std::size_t at = 0;
    while (at + end.size() <= body.size() && !equal_ignoring_case(body.substr(at, end.size()), end)) ++at;
    body.remove_prefix(std::min(at + end.size(), body.size()));
  };
  while (!body.empty() && words.size() <= kMaxExcerpt) {
    if (equal_ignoring_case(body.substr(0, 7), "<script")) {
      skip_past("</script>");
      space();
    } else if (equal_ignoring_case(body.substr(0, 6), "<style")) {
      skip_past("</style>");
      space();
    } else if (body.front() == '<') {
      skip_past(">");
      space();
    } else if (is_space(body.front())) {
      space();
      body.remove_prefix(1);
    } else {
      words += body.front();
      body.remove_prefix(1);
    }
  }
  while (words.ends_with(' ')) words.pop_back();
  return printable(words, kMaxExcerpt);
}

}  // namespace dh::io
