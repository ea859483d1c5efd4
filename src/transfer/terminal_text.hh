#pragma once

// Text in the columns of a terminal. All of it takes text that is printable() already.

#include <cstddef>
#include <string>
#include <string_view>

namespace dh::transfer {

/// How many columns it takes: East Asian characters two, combining ones none.
std::size_t columns_of(std::string_view text);

/// Its beginning and "..." where it takes more than that many columns.
std::string shortened(std::string_view text, std::size_t columns);

/// With newlines in place of spaces where a line takes more than that many columns. A longer word, a token
/// or a path, stays whole.
std::string wrapped(std::string_view text, std::size_t columns);

}  // namespace dh::transfer
