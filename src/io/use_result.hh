#pragma once

#include <boost/asio.hpp>

namespace dh::io {

namespace asio = boost::asio;
using boost::system::error_code;

/// Completion token of this house: `auto [ec, value] = co_await op(..., use_result)`, errors as values.
/// A cancelled coroutine still throws (operation_aborted) at its next co_await: that is how it unwinds.
inline constexpr auto use_result = asio::as_tuple(asio::use_awaitable);

}  // namespace dh::io
