#pragma once

// Which of several relays accept a connection now.

#include <optional>
#include <string>
#include <vector>

#include "io/dial.hh"
#include "session/token.hh"

namespace dh::io {

/// How to dial a relay that a token, a URL or a map named.
DialTarget dial_target(const session::RelayRef& relay);

struct ReachOptions {
  DialOptions dial;
  Duration budget = 2s;      // the answer comes at the latest after this
  Duration grace = 500ms;    // after the first success, for a second one
  std::size_t want = 2;      // successes; then the rest is not waited for
  std::size_t parallel = 2;  // dials at a time; a failure lets the next relay have its turn
};

struct ReachResult {
  enum class State : std::uint8_t {
    Untried,  // its turn did not come
    Pending,  // no answer within the budget
    Reached,  // TCP and TLS stand (TCP alone for plain http); no login was made
    Failed,   // `error` says why
  };
  State state = State::Untried;
  DialError error;
};

/// Dials `relays` in order and closes what connects at once. One result per relay, same order.
asio::awaitable<std::vector<ReachResult>> reach(std::vector<session::RelayRef> relays, ReachOptions options);

}  // namespace dh::io
