#pragma once

// What the tests of the shells share: an io_context that is driven until something holds, and ports.

#include <chrono>
#include <functional>

#include <boost/asio.hpp>
#include <gtest/gtest.h>

namespace dh::io::testing {

namespace asio = boost::asio;

/// Runs `context` until `done()`; a test that waits longer than `deadline` has failed.
inline bool run_until(asio::io_context& context, const std::function<bool()>& done,
                      std::chrono::seconds deadline = std::chrono::seconds(30)) {
  bool expired = false;
  asio::steady_timer timer(context, deadline);
  timer.async_wait([&expired](const boost::system::error_code& ec) { expired = !ec; });
  while (!done() && !expired) {
    if (context.stopped()) context.restart();
    context.run_one();
  }
  timer.cancel();
  if (context.stopped()) context.restart();
  context.poll();  // lets the timer's handler see the flag it refers to
  return !expired;
}

/// The result of a coroutine, run to its end.
template <typename T>
T run(asio::io_context& context, asio::awaitable<T> work) {
  std::optional<T> result;
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(context, std::move(work), [&](std::exception_ptr e, T value) {
    failure = e;
    if (!e) result.emplace(std::move(value));
    done = true;
  });
  EXPECT_TRUE(run_until(context, [&] { return done; })) << "the coroutine did not end in time";
  if (failure) std::rethrow_exception(failure);
  return std::move(*result);
}

/// A TCP port of 127.0.0.1 that was free a moment ago: nobody listens there.
inline std::uint16_t closed_port() {
  asio::io_context context;
  asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  return acceptor.local_endpoint().port();
}

}  // namespace dh::io::testing
