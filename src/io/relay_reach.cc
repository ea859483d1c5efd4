#include "io/relay_reach.hh"

#include <algorithm>

#include "io/clock.hh"

namespace dh::io {
namespace {

using State = ReachResult::State;

// Shared with the dials, which may outlive the answer by their own timeout.
struct Attempts {
  std::vector<ReachResult> results;
  asio::steady_timer changed;
};

asio::awaitable<void> attempt(std::shared_ptr<Attempts> attempts, std::size_t index, DialTarget target,
                              DialOptions options) {
  auto dialed = co_await dial(std::move(target), std::move(options));
  ReachResult& result = attempts->results[index];
  result.state = dialed ? State::Reached : State::Failed;
  if (dialed) {
    dialed->stream->close();
  } else {
    result.error = std::move(dialed.error());
  }
  attempts->changed.cancel();
}

std::size_t count(const std::vector<ReachResult>& results, State state) {
  return static_cast<std::size_t>(std::count_if(results.begin(), results.end(),
                                                [&](const auto& result) { return result.state == state; }));
}

}  // namespace

DialTarget dial_target(const session::RelayRef& relay) {
  DialTarget target;
  target.host = relay.host;
  target.port = relay.port;
  target.tls = !relay.plain_http;
  target.addresses = relay.addresses;
  target.pin = relay.pin;
  return target;
}

asio::awaitable<std::vector<ReachResult>> reach(std::vector<session::RelayRef> relays, ReachOptions options) {
  const auto executor = co_await asio::this_coro::executor;
  const auto attempts = std::make_shared<Attempts>(
      Attempts{std::vector<ReachResult>(relays.size()), asio::steady_timer(executor)});
  std::vector<ReachResult>& results = attempts->results;
  const Instant start = now();
  const std::size_t want = std::min(options.want, relays.size());
  Instant deadline = start + options.budget;
  bool any = false;
  for (std::size_t next = 0;;) {
    const Instant at = now();
    const std::size_t reached = count(results, State::Reached);
    if (reached > 0 && !any) deadline = std::min(deadline, at + options.grace);
    any = reached > 0;
    while (next < relays.size() && count(results, State::Pending) < options.parallel && at < deadline) {
      DialOptions dial_options = options.dial;
      dial_options.timeout = deadline - at;
      results[next].state = State::Pending;
      asio::co_spawn(executor, attempt(attempts, next, dial_target(relays[next]), std::move(dial_options)),
                     [](std::exception_ptr error) {
                       if (error) std::rethrow_exception(error);
                     });
      ++next;
    }
    if (reached >= want || at >= deadline || count(results, State::Pending) == 0) break;
    attempts->changed.expires_after(deadline - at);
    co_await attempts->changed.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return results;
}

}  // namespace dh::io
