#pragma once

#include <expected>
#include <string>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "base/time.hh"

namespace dh::io {

/// DNS through the system's resolver. Never waits past `deadline`, even where the system's own call does:
/// that one is left behind in the resolver's thread and its answer is dropped.
/// Errors: words for a sentence ("no such host", "DNS did not answer").
boost::asio::awaitable<std::expected<std::vector<IpAddress>, std::string>> resolve(std::string host,
                                                                                   Instant deadline);

}  // namespace dh::io
