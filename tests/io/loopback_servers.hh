#pragma once

// A small world on loopback for tests of io/: an HTTP server with scripted answers and a STUN server.
// Everything runs on the test's own io_context; nothing here sleeps.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <gtest/gtest.h>

#include "wire/stun.hh"

namespace dh::io::test {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;
constexpr auto kUseResult = asio::as_tuple(asio::use_awaitable);

/// Runs the context until the coroutine is finished and returns what it returned.
template <typename T>
T run(asio::io_context& context, asio::awaitable<T> work) {
  std::optional<T> result;
  asio::co_spawn(context, std::move(work), [&](std::exception_ptr error, T value) {
    if (error) std::rethrow_exception(error);
    result.emplace(std::move(value));
  });
  context.restart();
  while (!result && context.run_one() > 0) {
  }
  return std::move(result.value());
}

/// Answers each request with what `handler` makes of its head, then closes. An empty answer: never.
class HttpServer {
public:
  using Handler = std::function<std::string(const std::string& head)>;

  HttpServer(asio::io_context& context, Handler handler)
      : acceptor_(context, {asio::ip::address_v4::loopback(), 0}), handler_(std::move(handler)) {
    asio::co_spawn(context, serve(), asio::detached);
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port()) + path;
  }
  const std::vector<std::string>& requests() const { return requests_; }

private:
  asio::awaitable<void> serve() {
    for (;;) {
      auto [error, socket] = co_await acceptor_.async_accept(kUseResult);
      if (error) co_return;
      std::string head;
      const auto [bad, size] =
          co_await asio::async_read_until(socket, asio::dynamic_buffer(head), "\r\n\r\n", kUseResult);
      if (bad) continue;
      requests_.push_back(head.substr(0, size));
      const std::string answer = handler_(requests_.back());
      if (answer.empty()) {
        held_.push_back(std::move(socket));
        continue;
      }
      co_await asio::async_write(socket, asio::buffer(answer), kUseResult);
    }
  }

  tcp::acceptor acceptor_;
  Handler handler_;
  std::vector<std::string> requests_;
  std::vector<tcp::socket> held_;
};

inline std::string http_answer(const std::string& status, const std::string& body,
                               const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

/// Answers STUN requests as derper does, after `delay`; a negative delay: never.
class StunServer {
public:
  explicit StunServer(asio::io_context& context, std::chrono::milliseconds delay = {})
      : socket_(context, {asio::ip::address_v4::loopback(), 0}), delay_(delay) {
    asio::co_spawn(context, serve(), asio::detached);
  }
  std::uint16_t port() const { return socket_.local_endpoint().port(); }
  int requests() const { return requests_; }

private:
  asio::awaitable<void> serve() {
    std::array<std::byte, 100> buffer{};
    for (;;) {
      udp::endpoint from;
      const auto [error, size] = co_await socket_.async_receive_from(asio::buffer(buffer), from, kUseResult);
      if (error) co_return;
      const auto request = wire::stun::classify(ByteView(buffer).first(size));
      if (request.kind != wire::stun::RequestKind::Tailnode) continue;
      ++requests_;
      if (delay_.count() < 0) continue;
      if (delay_.count() > 0) {
        asio::steady_timer timer(socket_.get_executor(), delay_);
        co_await timer.async_wait(kUseResult);
      }
      const Bytes answer = wire::stun::make_reply(request.id, {});
      boost::system::error_code ignored;
      socket_.send_to(asio::buffer(answer), from, 0, ignored);
    }
  }

  udp::socket socket_;
  std::chrono::milliseconds delay_;
  int requests_ = 0;
};

}  // namespace dh::io::test
