#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "base/time.hh"

namespace dh::io {

/// What a look-up found; an error, or any number of addresses.
struct LookupAnswer {
  boost::system::error_code error;
  std::vector<IpAddress> addresses;
};
/// Called once, from any thread, or never. May be called after nobody waits any more.
using LookupDone = std::function<void(LookupAnswer)>;
/// Starts looking up `host` and returns at once.
using Lookup = std::function<void(std::string host, LookupDone done)>;

/// getaddrinfo in a thread of its own. It cannot be cancelled and may take half a minute when DNS is silent;
/// a thread for each keeps one silent name from holding up the next.
void system_lookup(std::string host, LookupDone done);

/// Addresses of `host`, each once, at most 16. Never waits past `deadline`, whatever `lookup` does: that is
/// left behind then, and its answer is dropped. An empty `lookup` is system_lookup. Errors: words for a
/// sentence ("no such host", "DNS did not answer in time").
boost::asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host,
                                                                                   Lookup lookup,
                                                                                   Instant deadline);
/// The same through the system.
boost::asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host,
                                                                                   Instant deadline);

}  // namespace dh::io
